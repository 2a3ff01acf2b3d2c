/** The program of a page: draws its charts, in the colours of the screen or of paper. */

/** It reads the element `data`; the charting library is there before it. No `</script` may occur in it. */
export const script = String.raw`
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = [];
  const folded = [];

  const color = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });
  const tickText = (prefix) => function (value, index, ticks) {
    return prefix + (value >= 1e5 ? compact.format(value) : Chart.Ticks.formatters.numeric.call(this, value, index, ticks));
  };

  const draw = (id, series, options) => {
    const canvas = document.getElementById(id);
    canvas.parentElement.hidden = false;
    const chart = new Chart(canvas, {
      type: "bar",
      data: {
        labels: page.labels,
        datasets: series.map(({ name, values }) => ({ label: name, data: values.map(Number), maxBarThickness: 48 })),
      },
      options: {
        locale: "en-US",
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: {
            stacked: options.stacked,
            border: {},
            grid: { display: false },
            ticks: { maxRotation: 0, autoSkipPadding: 12, callback: (value) => page.ticks[value] },
          },
          y: {
            stacked: options.stacked,
            beginAtZero: true,
            border: { display: false },
            grid: {},
            ticks: { maxTicksLimit: options.stacked ? 7 : 4, callback: tickText(options.prefix) },
          },
        },
        plugins: {
          colors: { enabled: false },
          legend: {
            display: options.stacked && series.length > 1,
            position: "bottom",
            labels: { boxWidth: 12, boxHeight: 12 },
          },
          tooltip: {
            itemSort: (a, b) => b.datasetIndex - a.datasetIndex,
            filter: (item, _, items) => items.length === 1 || item.raw !== 0,
            callbacks: {
              label: (item) => " " + series[item.datasetIndex].name + ": " + options.text(series[item.datasetIndex], item.dataIndex),
              footer: (items) => (options.stacked && items.length > 0 ? "Total: " + page.total[items[0].dataIndex] : ""),
            },
          },
        },
      },
    });
    charts.push({ chart, series, stacked: options.stacked });
  };

  const paint = () => {
    const [ink, muted, grid, card] = ["ink", "muted", "grid", "card"].map(color);
    for (const { chart, series } of charts) {
      const { plugins, scales } = chart.options;
      chart.data.datasets.forEach((dataset, index) => {
        dataset.backgroundColor = color(series[index].color);
      });
      scales.x.ticks.color = scales.y.ticks.color = muted;
      scales.y.grid.color = scales.x.border.color = grid;
      plugins.legend.labels.color = ink;
      Object.assign(plugins.tooltip, { backgroundColor: ink, titleColor: card, bodyColor: card, footerColor: card });
      // Not "none", which would keep the colours that bars of one colour share.
      chart.update();
    }
  };

  const beforePrint = () => {
    root.classList.add("printing");
    for (const element of document.querySelectorAll("details:not([open])")) {
      element.open = true;
      folded.push(element);
    }
    for (const { chart, stacked } of charts) {
      // Widths of paper, whatever the window's; sharp at a printer's resolution.
      chart.options.devicePixelRatio = 3;
      if (stacked) chart.resize(680, 240);
      else chart.resize(310, 130);
    }
    paint();
  };
  const afterPrint = () => {
    root.classList.remove("printing");
    for (const element of folded.splice(0)) element.open = false;
    for (const { chart } of charts) {
      chart.options.devicePixelRatio = undefined;
      chart.resize();
    }
    paint();
  };

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  if (page.labels.length > 0 && page.usage.length > 0) {
    draw("cost", page.cost, { stacked: true, prefix: "$", text: ({ shown }, index) => shown[index] });
    page.usage.forEach((one, index) => {
      draw("usage-" + index, [one], { stacked: false, prefix: "", text: ({ shown, unit }, at) => shown[at] + " " + unit });
    });
  }
  paint();
  dark.addEventListener("change", paint);
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
})();
`
