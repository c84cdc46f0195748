import type { Pool } from 'pg';
import type { StackModel } from '../../compose/index.ts';
import type { Bus } from '../../realtime/bus.ts';
import { logTopic, systemLine } from '../../realtime/log-writer.ts';
import type { Masker } from '../../realtime/masking.ts';
import type { ImageLine, ImageStore, ResolvedImage } from '../../runtimes/runtime.ts';
import { delay } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { fenced } from '../lease-transaction.ts';
import { watchCancellation } from './cancellation.ts';
import type { ReleaseSpecs } from './release.ts';
import { type ContainerSources, imageRequests, projectName } from './release-containers.ts';
import type { StackWorker } from './stack-worker.ts';
import type { DeploymentTask } from './task.ts';

/** Lines of a pull or a build are stored together when they come together. */
const COALESCE_MS = 200;
/** Of those that wait for the database: what is said faster than that is left out, and counted. */
const MAX_WAITING_LINES = 5_000;
/** "sha256:" and the twelve digits that `docker images` shows. */
const SHORT_ID_LENGTH = 19;

export type ImageDependencies = { pool: Pool; bus: Bus; log: Logger };

/** What ended the work on images from outside: a cancel, or its deadline. */
export class ImagesInterruptedError extends Error {
  override name = 'ImagesInterruptedError';
  readonly isCancelled: boolean;
  constructor(isCancelled: boolean, reason: string) {
    super(reason);
    this.isCancelled = isCancelled;
  }
}

/** Pulls and builds the images of a stack; every line of that is in the deployment's log at once. Throws RuntimeError. */
export async function resolveImages(
  deps: ImageDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  model: StackModel,
  masker: Masker,
): Promise<ContainerSources> {
  const project = projectName(task);
  const requests = imageRequests(model);
  const images = await withImages(deps, worker, task, masker, (store, tell, signal) =>
    store.resolve({ ...worker.stack, project }, requests, tell, signal),
  );
  return { project, images: new Map(requests.map(({ service }, index) => [service, images[index]!])) };
}

/** Sees to it that the images of an earlier release are there: these very ones. Throws RuntimeError. */
export async function requireImages(
  deps: ImageDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  specs: ReleaseSpecs,
  masker: Masker,
): Promise<void> {
  const images = imagesOf(specs);
  if (images.length === 0) return;
  await withImages(deps, worker, task, masker, (store, tell, signal) =>
    store.require(worker.stack, images, tell, signal),
  );
}

/** Which image each service runs, one sentence a service: a tag may mean another one tomorrow. */
export function imagesInWords(specs: ReleaseSpecs): ImageLine[] {
  return imagesOf(specs).map(({ service, name, id, digest }) => {
    const origin = digest === null ? '' : ` (${digest.replace(/^docker\.io\/(?:library\/)?/, '')})`;
    return { service, text: `image ${name} is ${id.slice(0, SHORT_ID_LENGTH)}${origin}` };
  });
}

function imagesOf(specs: ReleaseSpecs): (ResolvedImage & { service: string })[] {
  return specs.services.flatMap(({ name, replicas }) => {
    const image = replicas[0]?.container?.image;
    return image ? [{ ...image, service: name }] : [];
  });
}

async function withImages<T>(
  deps: ImageDependencies,
  worker: StackWorker,
  task: DeploymentTask,
  masker: Masker,
  work: (store: ImageStore, tell: (line: ImageLine) => void, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const store = worker.runtime.images;
  if (!store) throw new Error('a runtime without images was asked for some');
  using cancellation = await watchCancellation(deps, task.id);
  const lines = new ImageLog(deps.pool, worker, task.id, masker);
  const signal = AbortSignal.any([cancellation.signal, worker.lease.signal]);
  try {
    const result = await work(store, (line) => lines.add(line), signal);
    await lines.close();
    return result;
  } catch (error) {
    await lines.close();
    if (!cancellation.signal.aborted) throw error;
    const outcome = cancellation.outcome();
    throw new ImagesInterruptedError(outcome.result === 'cancelled', outcome.result === 'failed' ? outcome.reason : '');
  }
}

/** Stores what pulling and building says as lines of the deployment's log, in order, while it goes on. */
class ImageLog {
  readonly #pool: Pool;
  readonly #worker: StackWorker;
  readonly #deploymentId: string;
  readonly #masker: Masker;
  readonly #ended = new AbortController();
  readonly #writing: Promise<void>;
  #lines: ImageLine[] = [];
  #leftOut = 0;

  constructor(pool: Pool, worker: StackWorker, deploymentId: string, masker: Masker) {
    this.#pool = pool;
    this.#worker = worker;
    this.#deploymentId = deploymentId;
    this.#masker = masker;
    this.#writing = this.#writeForever();
    // Who closes it is told.
    this.#writing.catch(() => undefined);
  }

  add(line: ImageLine): void {
    if (this.#lines.length < MAX_WAITING_LINES) this.#lines.push(line);
    else this.#leftOut++;
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#writing;
    await this.#write();
  }

  async #writeForever(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      await delay(COALESCE_MS, this.#ended.signal);
      await this.#write();
    }
  }

  async #write(): Promise<void> {
    const lines = this.#lines;
    if (this.#leftOut > 0) lines.push({ service: lines.at(-1)!.service, text: `(${this.#leftOut} lines left out)` });
    this.#lines = [];
    this.#leftOut = 0;
    if (lines.length === 0) return;
    await fenced(this.#pool, this.#worker.lease, async (client, record) => {
      for (const { service, text } of lines)
        await systemLine(client, this.#deploymentId, this.#masker.maskText(text), 'INFO', { service });
      record.wake(logTopic(this.#deploymentId));
    });
  }
}
