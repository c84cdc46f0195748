import type { Pool, PoolClient } from 'pg';
import { createMasker, type Masker } from '../../realtime/masking.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { newId } from '../../shared/ids.ts';
import type { Environments } from '../environments/service.ts';
import { commandHoldsSecret, holdsSecret } from './hidden-fields.ts';
import { outlinesOf, portPlanOf, type ReleaseSpecs } from './release.ts';

const MAX_CACHED = 200;
const contextOf = (releaseId: string) => `releases:${releaseId}`;

/** The environment's secrets by name, as they were when the release was made. */
export type ReleaseSecrets = Record<string, { versionId: string; value: string }>;
export type Release = { id: string; specs: ReleaseSpecs; secrets: ReleaseSecrets };

/** A secret that the release runs with was deleted: it cannot run as it did. */
export class SecretGoneError extends Error {
  override name = 'SecretGoneError';
}

/** The stack that it belongs to was deleted meanwhile. */
export class ReleaseGoneError extends Error {
  override name = 'ReleaseGoneError';
}

/** Releases are written once and never change, so what was read stays true. */
export class ReleaseStore {
  readonly #pool: Pool;
  readonly #keyring: Keyring;
  readonly #environments: Pick<Environments, 'secretValues'>;
  readonly #releases = new Map<string, Release>();
  readonly #maskers = new Map<string, Masker>();

  constructor(deps: { pool: Pool; keyring: Keyring; environments: Pick<Environments, 'secretValues'> }) {
    this.#pool = deps.pool;
    this.#keyring = deps.keyring;
    this.#environments = deps.environments;
  }

  /** A keyed hash: what it is made of holds secrets. */
  hash(text: string): string {
    return this.#keyring.mac('config-hash', text);
  }

  /** In the transaction that gives a deployment its release. */
  async insert(
    client: PoolClient,
    stackVersionId: string,
    specs: ReleaseSpecs,
    secrets: ReleaseSecrets,
  ): Promise<Release> {
    const release: Release = { id: newId(), specs, secrets };
    const versions = Object.entries(secrets).map(([name, { versionId }]) => [name, versionId]);
    await client.query(
      `insert into releases (id, stack_version_id, specs, secrets, ports, config_hashes) values ($1, $2, $3, $4, $5, $6)`,
      [
        release.id,
        stackVersionId,
        this.#keyring.encrypt(JSON.stringify({ specs, secrets }), contextOf(release.id)),
        JSON.stringify(Object.fromEntries(versions)),
        JSON.stringify(portPlanOf(specs)),
        JSON.stringify(outlinesOf(specs)),
      ],
    );
    return release;
  }

  async read(releaseId: string): Promise<Release> {
    const known = this.#releases.get(releaseId);
    if (known) return known;
    const { rows } = await this.#pool.query<{ specs: string }>('select specs from releases where id = $1', [releaseId]);
    if (!rows[0]) throw new ReleaseGoneError(`release ${releaseId} is gone`);
    const stored = JSON.parse(this.#keyring.decrypt(rows[0].specs, contextOf(releaseId)));
    return remember(this.#releases, releaseId, { id: releaseId, ...stored } as Release);
  }

  /** Throws SecretGoneError when a secret that something in it runs with was deleted meanwhile. */
  async requireSecrets({ specs, secrets }: Release): Promise<void> {
    const text = JSON.stringify(specs);
    const commands = JSON.stringify(specs.services.map(({ replicas }) => replicas[0]?.argv));
    const used = Object.entries(secrets).filter(
      ([, { value }]) => holdsSecret(text, value) || commandHoldsSecret(commands, value),
    );
    const stored = await this.#environments.secretValues(used.map(([, { versionId }]) => versionId));
    for (const [name, { versionId }] of used) {
      if (stored[versionId] === undefined) throw new SecretGoneError(`the secret ${name} that it ran with was deleted`);
    }
  }

  /** Hides the secrets of a release, those too that were deleted meanwhile: it still runs with them. */
  async masker(releaseId: string): Promise<Masker> {
    const known = this.#maskers.get(releaseId);
    if (known) return known;
    const { secrets } = await this.read(releaseId);
    return remember(this.#maskers, releaseId, createMasker(Object.values(secrets).map(({ value }) => value)));
  }
}

function remember<T>(cache: Map<string, T>, key: string, value: T): T {
  if (cache.size >= MAX_CACHED) cache.delete(cache.keys().next().value!);
  cache.set(key, value);
  return value;
}
