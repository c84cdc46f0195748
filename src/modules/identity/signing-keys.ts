import { exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import type { PrismaClient, Transaction } from '../../db/client.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { newId } from '../../shared/ids.ts';

export const SIGNING_ALGORITHM = 'EdDSA';
/** A token with an unknown key id makes us look for new keys, at most this often. */
const RELOAD_INTERVAL_MS = 5_000;

type Key = Awaited<ReturnType<typeof importJWK>>;
type StoredKey = { id: string; material: string; publicJwk: unknown; retiredAt: Date | null };
type Loaded = { signing: { id: string; key: Key }; verifying: ReadonlyMap<string, Key>; published: JWK[] };

export type SigningKeys = {
  /** The key that signs now, made at the first call of an installation. */
  signing(): Promise<{ id: string; key: Key }>;
  /** The public key of this id, or null. */
  verifying(id: string): Promise<Key | null>;
  /** The JSON Web Key Set. */
  published(): Promise<{ keys: JWK[] }>;
};

/** Ed25519 keys in the `keys` table, shared by all instances; private parts encrypted. */
export function createSigningKeys({ prisma, keyring }: { prisma: PrismaClient; keyring: Keyring }): SigningKeys {
  let loaded: Promise<Loaded> | null = null;
  let loadedAt = 0;

  function load(): Promise<Loaded> {
    loadedAt = performance.now();
    const loading = read(prisma, keyring);
    loaded = loading;
    loading.catch(() => {
      if (loaded === loading) loaded = null;
    });
    return loading;
  }
  const current = () => loaded ?? load();

  return {
    signing: async () => (await current()).signing,
    async verifying(id) {
      const key = (await current()).verifying.get(id);
      if (key || performance.now() - loadedAt < RELOAD_INTERVAL_MS) return key ?? null;
      return (await load()).verifying.get(id) ?? null;
    },
    published: async () => ({ keys: (await current()).published }),
  };
}

async function read(prisma: PrismaClient, keyring: Keyring): Promise<Loaded> {
  let stored = await findKeys(prisma);
  if (!stored.some((key) => key.retiredAt === null)) {
    stored = await prisma.$transaction(async (tx) => {
      await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('windflow:signing-key', 0))`;
      const existing = await findKeys(tx);
      if (existing.some((key) => key.retiredAt === null)) return existing;
      await createKey(tx, keyring);
      return findKeys(tx);
    });
  }
  const newest = stored.find((key) => key.retiredAt === null)!;
  const privateJwk: JWK = JSON.parse(keyring.decrypt(newest.material, contextOf(newest.id)));
  const published = stored.map((key) => key.publicJwk as JWK);
  const verifying = published.map(async (jwk) => [jwk.kid!, await importJWK(jwk, SIGNING_ALGORITHM)] as const);
  return {
    signing: { id: newest.id, key: await importJWK(privateJwk, SIGNING_ALGORITHM) },
    verifying: new Map(await Promise.all(verifying)),
    published,
  };
}

function findKeys(db: Transaction): Promise<StoredKey[]> {
  return db.key.findMany({ where: { kind: 'signing' }, orderBy: { id: 'desc' } });
}

async function createKey(tx: Transaction, keyring: Keyring): Promise<void> {
  const id = newId();
  const { publicKey, privateKey } = await generateKeyPair(SIGNING_ALGORITHM, { extractable: true });
  const publicJwk = { ...(await exportJWK(publicKey)), kid: id, alg: SIGNING_ALGORITHM, use: 'sig' };
  const material = keyring.encrypt(JSON.stringify(await exportJWK(privateKey)), contextOf(id));
  await tx.key.create({ data: { id, kind: 'signing', material, publicJwk } });
}

const contextOf = (id: string): string => `keys:${id}`;
