import type Docker from 'dockerode';
import {
  type Healthcheck,
  type ImageLine,
  type ImageRequest,
  type ImageStore,
  type ResolvedImage,
  RuntimeError,
  type StackRef,
} from '../runtime.ts';
import { type Engine, EngineError, type RegistryLogin } from './connection.ts';
import { buildHash, buildImage } from './image-build.ts';
import { messagesOf, PullProgress } from './image-progress.ts';
import { digestOf, loginFor, parseImage } from './image-reference.ts';
import { BUILD_HASH } from './labels.ts';
import { ignoring } from './networks-volumes.ts';

const NOT_FOUND = 404;
/** Until a registry's first answer reaches the engine. */
const PULL_START_TIMEOUT_MS = 60_000;
const NS_PER_MS = 1e6;
/** What the engine takes where an image's health check says nothing. */
const DEFAULT_CHECK = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };

type Project = StackRef & { project: string };
type Tell = (text: string) => void;

/** The images of one engine. */
export class DockerImages implements ImageStore {
  readonly #engine: Engine;
  readonly #logins: Record<string, RegistryLogin>;

  constructor(engine: Engine, logins: Record<string, RegistryLogin>) {
    this.#engine = engine;
    this.#logins = logins;
  }

  async resolve(
    stack: Project,
    requests: readonly ImageRequest[],
    tell: (line: ImageLine) => void,
    signal: AbortSignal,
  ): Promise<ResolvedImage[]> {
    const present = await this.look(stack, requests);
    const firstMissing = present.indexOf(null);
    // What is pulled or built may change what a later name means: from there on each is looked for when its turn comes.
    const resolved = present.slice(0, firstMissing < 0 ? undefined : firstMissing).filter((image) => image !== null);
    for (const request of requests.slice(resolved.length)) {
      const { service } = request;
      const name = nameOf(stack, request);
      const ofService = (text: string) => tell({ service, text });
      const resolving = this.#resolve(name, request, ofService, signal);
      resolved.push(await resolving.catch((error) => refuse(service, error, signal)));
    }
    return resolved;
  }

  async look(stack: Project, requests: readonly ImageRequest[]): Promise<(ResolvedImage | null)[]> {
    return await Promise.all(
      requests.map(async (request) => {
        const { service, pullPolicy } = request;
        if (pullPolicy === 'always' || pullPolicy === 'build') return null;
        const found = this.#find(nameOf(stack, request), request);
        return await found.catch((error) => refuse(service, error));
      }),
    );
  }

  async require(
    _: StackRef,
    images: readonly (ResolvedImage & { service: string })[],
    tell: (line: ImageLine) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (const image of images) {
      const { service } = image;
      const ofService = (text: string) => tell({ service, text });
      await this.#require(image, ofService, signal).catch((error) => refuse(service, error, signal));
    }
  }

  async #resolve(name: string, request: ImageRequest, tell: Tell, signal: AbortSignal): Promise<ResolvedImage> {
    const { build, pullPolicy } = request;
    const isWanted = pullPolicy === 'missing' || pullPolicy === 'never';
    const present = isWanted ? await this.#find(name, request) : null;
    if (present) return present;
    if (pullPolicy === 'never') throw new RuntimeError(`the image ${name} is not there, and it is never pulled`);
    if (build && (pullPolicy !== 'always' || request.name === null)) {
      return await this.#build(name, request, build, tell, signal);
    }
    try {
      await this.#pull(name, request.platform, tell, signal);
    } catch (error) {
      if (!build || !(error instanceof RuntimeError)) throw error;
      tell(`${error.message}; it is built instead`);
      return await this.#build(name, request, build, tell, signal);
    }
    const pulled = await this.#find(name, { ...request, build: null });
    if (pulled) return pulled;
    throw new RuntimeError(`the image ${name} was pulled and is gone again`);
  }

  async #build(
    name: string,
    request: ImageRequest,
    build: NonNullable<ImageRequest['build']>,
    tell: Tell,
    signal: AbortSignal,
  ): Promise<ResolvedImage> {
    tell(`building ${name}`);
    const platform = request.platform ?? (build.platforms.length === 1 ? build.platforms[0]! : null);
    const id = await buildImage(this.#engine, { name, build, platform, logins: this.#logins }, tell, signal);
    const built = await this.#find(id, request);
    if (!built) throw new RuntimeError(`the image ${name} was built and is gone again`);
    tell(`built ${name}`);
    return { ...built, name };
  }

  async #require(image: ResolvedImage, tell: Tell, signal: AbortSignal): Promise<void> {
    if (await this.#inspect(image.id)) return;
    const gone = `the image ${image.name} that it ran with is gone`;
    if (image.digest === null) throw new RuntimeError(`${gone}, and it was built or imported: deploy again`);
    await this.#pull(image.digest, image.platform, tell, signal);
    if (!(await this.#inspect(image.id))) throw new RuntimeError(`${gone}: its registry has another one now`);
  }

  async #pull(name: string, platform: string | null, tell: Tell, signal: AbortSignal): Promise<void> {
    const { host, repository, tag, digest } = parseImage(name);
    const query = { fromImage: repository, tag: digest ?? tag ?? undefined, platform: platform ?? undefined };
    const login = loginFor(host, this.#logins);
    tell(`pulling ${name}`);
    const options = { query, login, signal, timeoutMs: PULL_START_TIMEOUT_MS };
    const progress = new PullProgress();
    try {
      for await (const message of messagesOf(await this.#engine.stream('POST', '/images/create', options))) {
        const line = progress.take(message);
        if (line !== null) tell(`pulling ${name}: ${line}`);
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof RuntimeError)) throw error;
      throw new RuntimeError(`the image ${name} cannot be pulled: ${error.message}`);
    }
    tell(`pulled ${name}`);
  }

  /** An image that is there; null: it is not, or it is one for another platform, or built from something else. */
  async #find(name: string, { build, platform }: ImageRequest): Promise<ResolvedImage | null> {
    const found = await this.#inspect(name);
    if (!found || (platform !== null && !isFor(found, platform))) return null;
    if (build && found.Config?.Labels?.[BUILD_HASH] !== buildHash(build)) return null;
    const digest = build ? null : digestOf(name, found.RepoDigests ?? []);
    return { name, id: found.Id, digest, platform, healthcheck: healthcheckOf(found) };
  }

  #inspect(name: string): Promise<Docker.ImageInspectInfo | null> {
    // The slashes of a name stay: the engine takes them for its own.
    return ignoring(NOT_FOUND, this.#engine.get<Docker.ImageInspectInfo>(`/images/${encodeURI(name)}/json`));
  }
}

function nameOf({ project }: Project, { name, service }: ImageRequest): string {
  return name ?? `${project}-${service}`;
}

function isFor({ Os: os, Architecture: architecture }: Docker.ImageInspectInfo, platform: string): boolean {
  const [wantedOs, wantedArchitecture] = platform.split('/');
  return os === wantedOs && (wantedArchitecture === undefined || architecture === wantedArchitecture);
}

/** As a program and its arguments: an image's shell form is run by the image's shell. */
function healthcheckOf({ Config: config }: Docker.ImageInspectInfo): Healthcheck | null {
  const { Healthcheck: check, Shell: shell } = config as Docker.ImageInspectInfo['Config'] & {
    Healthcheck?: { Test?: string[]; Interval?: number; Timeout?: number; StartPeriod?: number; Retries?: number };
    Shell?: string[];
  };
  const [kind, ...words] = check?.Test ?? [];
  if (!check || (kind !== 'CMD' && kind !== 'CMD-SHELL')) return null;
  const argv = kind === 'CMD' ? words : [...(shell ?? ['/bin/sh', '-c']), ...words];
  const ms = (nanoseconds: number | undefined, fallback: number) => (nanoseconds ? nanoseconds / NS_PER_MS : fallback);
  return {
    argv,
    intervalMs: ms(check.Interval, DEFAULT_CHECK.intervalMs),
    timeoutMs: ms(check.Timeout, DEFAULT_CHECK.timeoutMs),
    retries: check.Retries || DEFAULT_CHECK.retries,
    startPeriodMs: ms(check.StartPeriod, DEFAULT_CHECK.startPeriodMs),
    startIntervalMs: DEFAULT_CHECK.startIntervalMs,
  };
}

function refuse(service: string, error: unknown, signal?: AbortSignal): never {
  if (signal?.aborted) throw signal.reason;
  if (!(error instanceof RuntimeError)) throw error;
  const message = `service ${service}: ${error.message}`;
  throw error instanceof EngineError ? new EngineError(error.status, message) : new RuntimeError(message);
}
