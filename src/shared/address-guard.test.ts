import { expect, it } from 'vitest';
import { AddressGuard, isAddressOrNetwork } from './address-guard.ts';

const PRIVATE = ['127.0.0.1', '10.1.2.3', '192.168.0.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '224.0.0.1'];
const PRIVATE_V6 = ['::1', '::', 'fd00::1', 'fe80::1', 'ff02::1', '::ffff:10.0.0.1', '64:ff9b::a00:1', '2002:a00:1::'];

it('should permit the public internet alone', () => {
  const guard = new AddressGuard();
  for (const address of ['1.1.1.1', '93.184.216.34', '2606:4700::1111'])
    expect(guard.permits(address), address).toBe(true);
  for (const address of [...PRIVATE, ...PRIVATE_V6]) expect(guard.permits(address), address).toBe(false);
});

it('should permit what is allowed, and nothing beside it', () => {
  const guard = new AddressGuard(['127.0.0.1', '10.1.0.0/16', 'fd00::/64']);
  for (const address of ['127.0.0.1', '10.1.255.1', 'fd00::ffff', '1.1.1.1'])
    expect(guard.permits(address), address).toBe(true);
  for (const address of ['127.0.0.2', '10.2.0.1', 'fd00:0:0:1::1', '::1'])
    expect(guard.permits(address), address).toBe(false);
});

it('should judge a host that is an address, and leave names to the look-up', () => {
  const guard = new AddressGuard();
  expect(guard.refusal('localhost')).toBeNull();
  expect(guard.refusal('1.1.1.1')).toBeNull();
  expect(guard.refusal('10.0.0.1')).toMatchObject({ name: 'RefusedAddressError' });
});

it('should know addresses and networks', () => {
  for (const text of ['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0'])
    expect(isAddressOrNetwork(text), text).toBe(true);
  for (const text of ['', 'localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0/8', '::/129', '10.0.0.0/8/8', '10.0.0.0/-1'])
    expect(isAddressOrNetwork(text), text).toBe(false);
});
