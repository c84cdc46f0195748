import { generateKeyPair } from 'jose';
import { expect, it } from 'vitest';
import { newId } from '../../shared/ids.ts';
import { ACCESS_TOKEN_SECONDS, createAccessTokens } from './access-tokens.ts';
import { SIGNING_ALGORITHM, type SigningKeys } from './signing-keys.ts';

it('should verify a signature once, and refuse its token when it has expired', async () => {
  const { privateKey, publicKey } = await generateKeyPair(SIGNING_ALGORITHM);
  let now = Date.now();
  let lookUps = 0;
  const keys: SigningKeys = {
    signing: async () => ({ id: 'key', key: privateKey }),
    verifying: async () => {
      lookUps++;
      return publicKey;
    },
    published: async () => ({ keys: [] }),
  };
  const tokens = createAccessTokens({ keys, clock: { now: () => new Date(now) } });
  const claims = { userId: newId(), sessionId: newId() };
  const token = await tokens.issue(claims);

  expect(await tokens.verify(token)).toEqual(claims);
  expect(await tokens.verify(token)).toEqual(claims);
  expect(lookUps).toBe(1);
  await expect(tokens.verify(`${token.slice(0, -4)}AAAA`)).rejects.toMatchObject({ reason: 'TOKEN_INVALID' });

  now += ACCESS_TOKEN_SECONDS * 1_000;
  await expect(tokens.verify(token)).rejects.toMatchObject({ reason: 'TOKEN_EXPIRED' });
  expect(await tokens.verify(token, { allowExpired: true })).toEqual(claims);
  await expect(tokens.verify(token)).rejects.toMatchObject({ reason: 'TOKEN_EXPIRED' });
});
