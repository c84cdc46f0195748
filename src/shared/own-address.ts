import { isIP } from 'node:net';

/** Whether an IP address is loopback, unspecified or link-local, also where IPv6 writes one of IPv4: it leads to the own machine. */
export function isOwnAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return /^(127|0)\.|^169\.254\./.test(address);
  return version === 6 && (address === '::1' || address === '::' || /^fe[89ab]|^::ffff:/i.test(address));
}
