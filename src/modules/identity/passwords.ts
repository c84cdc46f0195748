import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { UnavailableError } from '../../shared/errors.ts';

const derive = promisify(argon2);

/** OWASP's parameters for argon2id: memory in KiB, passes, lanes. */
const MEMORY_KIB = 19_456;
const PASSES = 2;
const LANES = 1;
const TAG_BYTES = 32;
const SALT_BYTES = 16;
const VERSION = 19;

/** Derivations at once: each takes one of four threads of the pool and 19 MiB. */
export const MAX_CONCURRENT_HASHES = 2;
/** Derivations that wait; more are refused. */
export const MAX_WAITING_HASHES = 64;
const BUSY_RETRY_MS = 1_000;

export type PasswordHasher = {
  /** A PHC string. Throws UnavailableError when too many wait already; so does `verify`. */
  hash(password: string): Promise<string>;
  /** Whether the password is the one of this PHC string; null, for a user who does not exist, costs the same and is false. */
  verify(password: string, phc: string | null): Promise<boolean>;
};

/** argon2id through Node's own crypto. `onDerive` is told of each derivation, for tests that count them. */
export function createPasswordHasher(options: { onDerive?: () => void } = {}): PasswordHasher {
  const gate = createGate(MAX_CONCURRENT_HASHES, MAX_WAITING_HASHES);
  const nobody = format({ ...defaults(), nonce: randomBytes(SALT_BYTES) }, randomBytes(TAG_BYTES));

  async function tagOf(parameters: Argon2Parameters): Promise<Buffer> {
    return gate(async () => {
      options.onDerive?.();
      return Buffer.from(await derive('argon2id', parameters));
    });
  }

  return {
    async hash(password) {
      const parameters = { ...defaults(), message: textBytes(password), nonce: randomBytes(SALT_BYTES) };
      return format(parameters, await tagOf(parameters));
    },
    async verify(password, phc) {
      const { tag, ...parameters } = parsePhc(phc ?? nobody);
      const derived = await tagOf({ ...parameters, message: textBytes(password) });
      return timingSafeEqual(derived, tag) && phc !== null;
    },
  };
}

function defaults() {
  return { memory: MEMORY_KIB, passes: PASSES, parallelism: LANES, tagLength: TAG_BYTES };
}

/** The same password typed on another keyboard may come in another Unicode form. */
function textBytes(password: string): Buffer {
  return Buffer.from(password.normalize('NFC'));
}

type PhcParameters = Omit<Argon2Parameters, 'message'> & { nonce: Buffer };

function format(parameters: Omit<PhcParameters, 'tagLength'>, tag: Buffer): string {
  const { memory, passes, parallelism } = parameters;
  const encode = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=${VERSION}$m=${memory},t=${passes},p=${parallelism}$${encode(parameters.nonce)}$${encode(tag)}`;
}

function parsePhc(phc: string): PhcParameters & { tag: Buffer } {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w+/]+)\$([\w+/]+)$/.exec(phc);
  if (!match) throw new Error('a stored password hash is not an argon2id PHC string');
  const tag = Buffer.from(match[5]!, 'base64');
  return {
    memory: Number(match[1]),
    passes: Number(match[2]),
    parallelism: Number(match[3]),
    nonce: Buffer.from(match[4]!, 'base64'),
    tag,
    tagLength: tag.length,
  };
}

/** Runs so many at once, lets so many wait, and refuses the rest. */
function createGate(limit: number, maxWaiting: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= limit) {
      if (waiting.length >= maxWaiting) {
        throw new UnavailableError('too many passwords are being checked now: try again in a moment', BUSY_RETRY_MS);
      }
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else {
      running += 1;
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
