import dns from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

const BITS = { 4: 32, 6: 128 };

/** What is looked up leads to an address that may not be reached. */
export class RefusedAddressError extends Error {
  override name = 'RefusedAddressError';
}

/** Whether a text is an IP address, or a network in CIDR notation: "10.0.0.0/8". */
export function isAddressOrNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  const version = isIP(address) as 0 | 4 | 6;
  if (version === 0 || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= BITS[version]);
}

/**
 * Which addresses are reached on behalf of users: those of the public internet alone. Loopback, private, link-local and all other
 * special ones are refused. `allowed`: addresses and networks that may be reached all the same.
 */
export class AddressGuard {
  readonly #allowed = new BlockList();

  constructor(allowed: readonly string[] = []) {
    for (const entry of allowed) {
      const [address = '', prefix] = entry.split('/');
      if (prefix === undefined) this.#allowed.addAddress(address, familyOf(address));
      else this.#allowed.addSubnet(address, Number(prefix), familyOf(address));
    }
  }

  permits(address: string): boolean {
    return this.#allowed.check(address, familyOf(address)) || ipaddr.parse(address).range() === 'unicast';
  }

  /** Why a host that is written as an address, which nobody looks up, may not be reached. */
  refusal(host: string): RefusedAddressError | null {
    return isIP(host) !== 0 && !this.permits(host) ? new RefusedAddressError(host) : null;
  }

  /** Node's look-up of names: the connection goes to the very address that was found here. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '', 0);
      const refused = found.find(({ address }) => !this.permits(address));
      if (refused) return callback(new RefusedAddressError(hostname), '', 0);
      if (options.all) return callback(null, found);
      const [first] = found;
      callback(null, first!.address, first!.family);
    });
  };
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
