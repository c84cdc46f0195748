import { errors, jwtVerify, SignJWT } from 'jose';
import type { Clock } from '../../shared/clock.ts';
import { TokenRefusedError } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import { SIGNING_ALGORITHM, type SigningKeys } from './signing-keys.ts';

export const ACCESS_TOKEN_SECONDS = 15 * 60;
const ISSUER = 'windflow';
const AUDIENCE = 'windflow-api';
const MAX_TOKEN_LENGTH = 2_048;
/** Tokens whose signature was found good, kept until they expire: a signature costs more to verify than a small query to answer. */
const MAX_VERIFIED_TOKENS = 10_000;

/** Whom a token speaks for. Whether the session still lives is another question. */
export type TokenClaims = { userId: string; sessionId: string };

export type AccessTokens = {
  /** A JWT for 15 minutes. */
  issue(claims: TokenClaims): Promise<string>;
  /** Throws TokenRefusedError: TOKEN_INVALID or, unless `allowExpired`, TOKEN_EXPIRED. */
  verify(token: string, options?: { allowExpired: boolean }): Promise<TokenClaims>;
};

export function createAccessTokens({ keys, clock }: { keys: SigningKeys; clock: Clock }): AccessTokens {
  // The longest known is forgotten first.
  const verified = new Map<string, { claims: TokenClaims; expiresAtMs: number }>();

  function knownClaims(token: string): TokenClaims | null {
    const known = verified.get(token);
    if (known && known.expiresAtMs > clock.now().getTime()) return known.claims;
    if (known) verified.delete(token);
    return null;
  }

  function remember(token: string, claims: TokenClaims, expiresAtMs: number): void {
    verified.set(token, { claims, expiresAtMs });
    if (verified.size > MAX_VERIFIED_TOKENS) verified.delete(verified.keys().next().value!);
  }

  return {
    async issue({ userId, sessionId }) {
      const { id, key } = await keys.signing();
      const now = Math.floor(clock.now().getTime() / 1000);
      return new SignJWT({ sid: sessionId })
        .setProtectedHeader({ alg: SIGNING_ALGORITHM, kid: id, typ: 'JWT' })
        .setSubject(userId)
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setIssuedAt(now)
        .setExpirationTime(now + ACCESS_TOKEN_SECONDS)
        .sign(key);
    },
    async verify(token, options) {
      const known = knownClaims(token);
      if (known) return known;
      if (token.length > MAX_TOKEN_LENGTH) throw new TokenRefusedError('TOKEN_INVALID');
      const payload = await jwtVerify(
        token,
        async ({ kid }) => {
          const key = kid ? await keys.verifying(kid) : null;
          if (!key) throw new TokenRefusedError('TOKEN_INVALID');
          return key;
        },
        {
          algorithms: [SIGNING_ALGORITHM],
          issuer: ISSUER,
          audience: AUDIENCE,
          currentDate: clock.now(),
          requiredClaims: ['exp', 'sub', 'sid'],
        },
      ).then(
        (result) => result.payload,
        (error: unknown) => {
          if (!(error instanceof errors.JOSEError)) throw error;
          if (!(error instanceof errors.JWTExpired)) throw new TokenRefusedError('TOKEN_INVALID');
          // The signature held: only the time is over.
          if (options?.allowExpired) return error.payload;
          throw new TokenRefusedError('TOKEN_EXPIRED');
        },
      );
      const { sub, sid, exp } = payload;
      if (typeof sub !== 'string' || typeof sid !== 'string' || !isId(sub) || !isId(sid)) {
        throw new TokenRefusedError('TOKEN_INVALID');
      }
      const claims = { userId: sub, sessionId: sid };
      const expiresAtMs = exp! * 1_000;
      if (expiresAtMs > clock.now().getTime()) remember(token, claims, expiresAtMs);
      return claims;
    },
  };
}
