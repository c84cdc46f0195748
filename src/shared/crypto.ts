import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';

export const SECRET_KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const FORMAT = 'v1';

/** What `decrypt` throws: another key, another place, or a damaged text. */
export class DecryptionError extends Error {
  override name = 'DecryptionError';
}

/** Encrypts, signs and hashes with keys derived from WINDFLOW_SECRET_KEY. */
export type Keyring = {
  /** Names the key, reveals nothing of it; stands in every ciphertext. */
  readonly keyId: string;
  /** A hash that tells whether two servers have the same key. */
  readonly fingerprint: string;
  /** AES-256-GCM; `context` binds the text to its place ("secret_versions:<id>"): moved elsewhere, it does not decrypt. */
  encrypt(plain: string, context: string): string;
  decrypt(text: string, context: string): string;
  /** HMAC-SHA256, base64url, under a key of its own for each purpose. */
  mac(purpose: string, text: string): string;
};

export function createKeyring(secretKey: Uint8Array): Keyring {
  if (secretKey.byteLength !== SECRET_KEY_BYTES) throw new RangeError(`a secret key has ${SECRET_KEY_BYTES} bytes`);
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secretKey, 'windflow', purpose, SECRET_KEY_BYTES));
  const encryptionKey = derive('encrypt');
  const fingerprint = derive('fingerprint').toString('base64url');
  const keyId = fingerprint.slice(0, 8);
  const macKeys = new Map<string, Buffer>();

  return {
    keyId,
    fingerprint,
    encrypt(plain, context) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', encryptionKey, iv).setAAD(Buffer.from(context));
      const sealed = Buffer.concat([iv, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return `${FORMAT}.${keyId}.${sealed.toString('base64url')}`;
    },
    decrypt(text, context) {
      const [format, id, sealed] = text.split('.');
      if (format !== FORMAT || !sealed) throw new DecryptionError('not a ciphertext of this program');
      if (id !== keyId) throw new DecryptionError(`encrypted with another key (${id}, this one is ${keyId})`);
      const bytes = Buffer.from(sealed, 'base64url');
      if (bytes.length < IV_BYTES + TAG_BYTES) throw new DecryptionError('damaged ciphertext');
      try {
        const decipher = createDecipheriv('aes-256-gcm', encryptionKey, bytes.subarray(0, IV_BYTES))
          .setAAD(Buffer.from(context))
          .setAuthTag(bytes.subarray(-TAG_BYTES));
        return decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
      } catch (cause) {
        throw new DecryptionError('damaged ciphertext, or one from another place', { cause });
      }
    },
    mac(purpose, text) {
      const key = macKeys.get(purpose) ?? derive(`mac:${purpose}`);
      macKeys.set(purpose, key);
      return createHmac('sha256', key).update(text).digest('base64url');
    },
  };
}

/** SHA-256 of a text, base64url: for tokens of full entropy, which need no slow hash. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** An opaque token of 256 bits. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url');
}
