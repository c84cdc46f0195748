import { describe, expect, it } from 'vitest';
import { createPasswordHasher, MAX_CONCURRENT_HASHES, MAX_WAITING_HASHES } from './passwords.ts';

describe('a hasher', () => {
  it('should know a password again, and no other', async () => {
    const hasher = createPasswordHasher();
    const phc = await hasher.hash('correct horse');
    expect(phc).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
    expect(await hasher.verify('correct horse', phc)).toBe(true);
    expect(await hasher.verify('correct hors', phc)).toBe(false);
    expect(await hasher.hash('correct horse')).not.toBe(phc);
  });

  it('should agree with the reference implementation of argon2', async () => {
    // From test.c of phc-winner-argon2.
    const phc = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    const hasher = createPasswordHasher();
    expect(await hasher.verify('password', phc)).toBe(true);
  });

  it('should take a password in any Unicode form', async () => {
    const hasher = createPasswordHasher();
    const phc = await hasher.hash('caf\u00e9 au lait');
    expect(await hasher.verify('cafe\u0301 au lait', phc)).toBe(true);
  });

  it('should work as much for nobody as for somebody', async () => {
    let derivations = 0;
    const hasher = createPasswordHasher({ onDerive: () => derivations++ });
    const phc = await hasher.hash('password');
    expect([await hasher.verify('wrong', phc), derivations]).toEqual([false, 2]);
    expect([await hasher.verify('wrong', null), derivations]).toEqual([false, 3]);
  });

  it('should refuse what waits beyond its queue, and go on after that', async () => {
    const hasher = createPasswordHasher();
    const many = MAX_CONCURRENT_HASHES + MAX_WAITING_HASHES;
    const attempts = await Promise.allSettled(Array.from({ length: many + 3 }, () => hasher.hash('password')));
    const refused = attempts.filter((attempt) => attempt.status === 'rejected');
    expect(refused).toHaveLength(3);
    expect(refused[0]!.reason).toMatchObject({ code: 'UNAVAILABLE', retryAfterMs: 1_000 });
    await expect(hasher.hash('password')).resolves.toMatch(/^\$argon2id/);
  });
});
