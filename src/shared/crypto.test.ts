import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createKeyring, DecryptionError } from './crypto.ts';

describe('a keyring', () => {
  const key = randomBytes(32);
  const keyring = createKeyring(key);

  it('should give back what it encrypted, in its place only', () => {
    const text = keyring.encrypt('größe\0 readable', 'here');
    expect(text).not.toContain('readable');
    expect(keyring.decrypt(text, 'here')).toBe('größe\0 readable');
    expect(() => keyring.decrypt(text, 'there')).toThrow(DecryptionError);
  });

  it('should name the key in the ciphertext and refuse one of another key', () => {
    const other = createKeyring(randomBytes(32));
    expect(keyring.encrypt('x', 'c').split('.')[1]).toBe(keyring.keyId);
    expect(() => other.decrypt(keyring.encrypt('x', 'c'), 'c')).toThrow(/another key/);
    expect(createKeyring(key).fingerprint).toBe(keyring.fingerprint);
    expect(other.fingerprint).not.toBe(keyring.fingerprint);
  });

  it('should refuse a damaged text', () => {
    const text = keyring.encrypt('payload', 'c');
    for (const bad of ['', 'v1', 'v1.x', `${text.slice(0, -4)}AAAA`, text.slice(0, 20)])
      expect(() => keyring.decrypt(bad, 'c')).toThrow(DecryptionError);
  });

  it('should sign with a key of its own for each purpose', () => {
    expect(keyring.mac('a', 'x')).toBe(keyring.mac('a', 'x'));
    expect(keyring.mac('a', 'x')).not.toBe(keyring.mac('b', 'x'));
  });
});
