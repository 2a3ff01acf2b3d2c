/** How a page looks: light, dark, narrow and on paper. */

const series = {
  light: ["#2f6fde", "#d97400", "#0f9d84", "#c2549d", "#3d93cb", "#c93f3f", "#7a5cd6", "#8a8f1a"],
  dark: ["#6ea0ff", "#f5a142", "#3fc9ae", "#e283c1", "#86c8f2", "#f27878", "#a78bfa", "#c2c858"]
} as const

const variables = (colors: ReadonlyArray<string>): string =>
  colors.map((color, index) => `--series-${index + 1}:${color};`).join("")

const fills = [...series.light.map((_, index) => `series-${index + 1}`), "series-rest"]
  .map((name) => `.${name}{--color:var(--${name})}`)
  .join("\n")

export const styles = `
:root{color-scheme:light;--page:#f5f6f8;--card:#fff;--ink:#17202c;--muted:#586374;--line:#dde1e7;--grid:#e9ecf0;
--note:#fff6df;--note-line:#e5c56b;--series-rest:#848d9d;${variables(series.light)}}
@media screen and (prefers-color-scheme:dark){:root:not(.printing){color-scheme:dark;--page:#0f1319;--card:#181e27;
--ink:#e7ebf1;--muted:#9ba7b7;--line:#2c3542;--grid:#262e3a;--note:#2c2614;--note-line:#6f5c22;--series-rest:#707b8c;
${variables(series.dark)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px}
h1,h2,p,dl,dd,figure{margin:0}
h1{font-size:2.1rem;line-height:1.2;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:40px 0 12px}
.eyebrow{color:var(--muted);font-size:.8rem;font-weight:600;letter-spacing:.08em;text-transform:uppercase}
.lead{color:var(--muted);font-size:.9rem;margin:-6px 0 12px}
.facts{display:flex;flex-wrap:wrap;gap:4px 32px;margin-top:12px}
.facts dt,.tile dt{color:var(--muted);font-size:.85rem}
.note{margin-top:20px;padding:12px 16px;background:var(--note);border:1px solid var(--note-line);border-radius:8px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:16px;margin-top:28px}
.tile,.card,section>.scroll{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}
section>.scroll{padding:4px 0}
.tile dd{display:flex;flex-direction:column}
.value{font-size:1.6rem;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.below{color:var(--muted);font-size:.9rem}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:16px}
.pairs{grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}
.grid+.card{margin-top:16px}
.chart{position:relative;min-width:0}
.chart[hidden]{display:none}
.chart:not([hidden])+details{margin-top:12px}
.wide{height:320px}
.small{height:180px;margin-top:8px}
.unit{color:var(--muted);font-weight:400;font-size:.9em}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.95rem}
caption{text-align:left;padding-bottom:4px}
th,td{padding:9px 14px;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
thead th,thead td{border-top:0;color:var(--muted);font-size:.85rem;font-weight:600;white-space:nowrap;vertical-align:bottom}
tbody th{font-weight:500;white-space:nowrap}
tfoot th,tfoot td{font-weight:650;border-top:2px solid var(--line)}
.number{text-align:right;white-space:nowrap}
.dense{font-size:.85rem}
.dense th,.dense td{padding:4px 10px}
.peaks th,.peaks td{padding:4px 6px}
.peaks th:first-child{padding-left:0}
.peaks .number:last-child{padding-right:0}
.digits{display:block;color:var(--muted);font-size:.72rem;font-weight:400;white-space:normal;overflow-wrap:anywhere;width:max-content;max-width:20ch;margin-left:auto}
.change{white-space:nowrap}
.change>span{font-size:.7em;color:var(--muted)}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.6em;background:var(--color)}
.drawn{width:100%;min-width:44px;vertical-align:middle}
.bar{display:block;width:100%;height:10px;fill:var(--color)}
summary{cursor:pointer;color:var(--muted);font-size:.9rem}
details[open]>summary{margin-bottom:8px}
footer{margin-top:40px;color:var(--muted);font-size:.85rem}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:2px solid var(--series-1);outline-offset:2px}
${fills}
@media (min-width:1000px){.digits{max-width:34ch}}
@media (max-width:600px){main{padding:24px 14px}h1{font-size:1.6rem}.wide{height:260px}}
@media print{@page{margin:14mm}
html{font-size:11.5px}
body{background:#fff;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}
h2{margin:24px 0 8px;break-after:avoid}
.lead{break-after:avoid}
.tiles{grid-template-columns:repeat(4,1fr);gap:10px}
.grid,.pairs{grid-template-columns:1fr 1fr;gap:10px}
.tile,figure,.peaks,tr{break-inside:avoid}
.value{font-size:1.3rem}
th,td,.dense th,.dense td{padding:4px 6px}
.dense thead .number{white-space:normal}
tfoot{display:table-row-group}
.scroll{overflow:visible}
.wide,.small{height:auto}
canvas{width:100%!important;height:auto!important}
}
`
