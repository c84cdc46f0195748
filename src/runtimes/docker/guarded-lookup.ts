import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import { isOwnAddress } from '../../shared/own-address.ts';

/** Looks up the address of an engine elsewhere: a name that leads to the own machine is refused, whoever made it do so. */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  dns.lookup(hostname, { ...options, all: true }, (error, found) => {
    if (error) return callback(error, '', 0);
    const own = found.find(({ address }) => isOwnAddress(address));
    if (own) return callback(new Error(`${hostname} leads to the server's own machine`), '', 0);
    if (options.all) return callback(null, found);
    const [first] = found;
    callback(null, first!.address, first!.family);
  });
};
