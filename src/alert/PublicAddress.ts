/**
 * Tells addresses on the internet from private ones: this machine's, its network's, the cloud's metadata.
 *
 * An address is public only if no rule excludes it. Of IPv6 only the range that is assigned for the internet is (2000::/3): every
 * form that hides an IPv4 address (mapped, compatible, 6to4, Teredo) is refused without being listed.
 */
import { BlockList, isIP } from "node:net"

/** IANA's special-purpose registry, multicast, reserved ranges, and addresses of the cloud's host. */
const notPublic = new BlockList()
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  // Azure's host, which every machine there can reach.
  ["168.63.129.16", 32]
] as const) {
  notPublic.addSubnet(network, prefix, "ipv4")
}
for (const [network, prefix] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20]
] as const) {
  notPublic.addSubnet(network, prefix, "ipv6")
}

const internet = new BlockList()
internet.addSubnet("2000::", 3, "ipv6")

/** Networks without IPv4 reach it through these addresses (NAT64): the IPv4 address in them decides. */
const translated = /^\[64:ff9b::([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/

const behindTranslation = (address: string): string | undefined => {
  const [, high, low] = translated.exec(URL.parse(`http://[${address}]`)?.hostname ?? "") ?? []
  if (high === undefined || low === undefined) return undefined
  const bytes = [high, low].flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255])
  return bytes.join(".")
}

/** Whether `address` is an IP address on the internet. */
export const isPublicAddress = (address: string): boolean => {
  const family = isIP(address)
  if (family === 4) return !notPublic.check(address, "ipv4")
  if (family !== 6 || address.includes("%")) return false
  const behind = behindTranslation(address)
  if (behind !== undefined) return isPublicAddress(behind)
  return internet.check(address, "ipv6") && !notPublic.check(address, "ipv6")
}
