import { expect, it } from 'vitest';
import { isOwnAddress } from './own-address.ts';

it.each([
  '127.0.0.1',
  '127.255.1.2',
  '0.0.0.0',
  '169.254.169.254',
  '::1',
  '::',
  'fe80::1',
  '::ffff:127.0.0.1',
])('should take %s for the own machine', (address) => {
  expect(isOwnAddress(address)).toBe(true);
});

it.each(['10.0.0.1', '192.168.1.1', '8.8.8.8', '2001:db8::1', 'example.com', ''])('should not take %j', (address) => {
  expect(isOwnAddress(address)).toBe(false);
});
