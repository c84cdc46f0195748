import { createHash } from 'node:crypto';
import type { BuildModel } from '../../compose/index.ts';
import { excerptOf } from '../excerpt.mjs';
import { RuntimeError } from '../runtime.ts';
import type { Engine, EngineRequest, RegistryLogin } from './connection.ts';
import { BuildLines, messagesOf } from './image-progress.ts';
import { loginFor } from './image-reference.ts';
import { BUILD_HASH } from './labels.ts';
import { packTar } from './tar.ts';

/** The engine answers when the first step begins, which may be after a context was cloned. */
const BUILD_START_TIMEOUT_MS = 600_000;
const INLINE_DOCKERFILE = '.windflow.Dockerfile';
const DEFAULT_DOCKERFILE = 'Dockerfile';
/** What the engine itself says of a build: that a step begins, and what comes of it. */
const STEP = /^Step \d+\/\d+ : /;
const REMARK = /^( ---> |Remov(ed|ing) intermediate container )/;
const FILE_MODE = 0o644;
const SCRIPT_MODE = 0o755;

export type ImageBuild = {
  name: string;
  build: BuildModel;
  platform: string | null;
  /** By registry, for images that the build begins with. */
  logins: Record<string, RegistryLogin>;
};

/** Tells what an image was built from: the same again needs no build. What a repository holds by then is not looked at. */
export function buildHash(build: BuildModel): string {
  return createHash('sha256').update(JSON.stringify(build)).digest('hex');
}

/** Builds an image and returns its id; `tell` gets each line as it comes. */
export async function buildImage(
  engine: Engine,
  wanted: ImageBuild,
  tell: (text: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const { build, logins } = wanted;
  if (build.context.type === 'git' && build.dockerfileInline !== null) {
    throw new RuntimeError('dockerfile_inline needs a context of files: a repository brings its own');
  }
  const request: EngineRequest = {
    query: queryOf(wanted),
    logins: Object.fromEntries(
      Object.keys(logins).flatMap((host) => {
        const login = loginFor(host, logins);
        return login ? [[login.serveraddress, login]] : [];
      }),
    ),
    signal,
    timeoutMs: BUILD_START_TIMEOUT_MS,
    ...(build.context.type === 'files' ? { archive: contextOf(build, build.context.files) } : {}),
  };
  const lines = new BuildLines();
  let id: string | null = null;
  let said = '';
  const take = (told: readonly string[]) => {
    for (const line of told) {
      tell(line);
      // A step begins with it, and has said nothing so far.
      if (STEP.test(line)) said = '';
      else if (!REMARK.test(line)) said = line;
    }
  };
  const messages = messagesOf(await engine.stream('POST', '/build', request));
  try {
    for await (const { stream, status, aux } of messages) {
      if (aux?.ID) id = aux.ID;
      take(lines.push(stream ?? (status === undefined ? '' : `${status}\n`)));
    }
  } catch (error) {
    take(lines.finish());
    if (!(error instanceof RuntimeError) || said === '') throw error;
    throw new RuntimeError(`${error.message} (${excerptOf(Buffer.from(said))})`);
  }
  take(lines.finish());
  if (id === null) throw new RuntimeError('the engine built no image');
  return id;
}

function queryOf({ name, build, platform }: ImageBuild): NonNullable<EngineRequest['query']> {
  const { context, args, labels, target, cacheFrom, extraHosts, network, tags, shm, noCache, pull } = build;
  return {
    version: 1,
    t: [name, ...tags],
    dockerfile: build.dockerfileInline === null ? (build.dockerfile ?? DEFAULT_DOCKERFILE) : INLINE_DOCKERFILE,
    remote: context.type === 'git' ? context.url : undefined,
    buildargs: JSON.stringify(args),
    labels: JSON.stringify({ ...labels, [BUILD_HASH]: buildHash(build) }),
    target: target ?? undefined,
    cachefrom: JSON.stringify(cacheFrom),
    extrahosts: extraHosts.length > 0 ? extraHosts.join(',') : undefined,
    networkmode: network ?? undefined,
    platform: platform ?? undefined,
    shmsize: shm ?? undefined,
    nocache: noCache,
    pull: pull || undefined,
    rm: true,
    forcerm: true,
  };
}

function contextOf({ dockerfileInline }: BuildModel, files: Record<string, string>): Buffer {
  const inline = dockerfileInline === null ? {} : { [INLINE_DOCKERFILE]: dockerfileInline };
  return packTar(
    Object.entries({ ...files, ...inline }).map(([name, content]) => ({
      name,
      content,
      // A compose file says nothing of modes: what begins as a script is one.
      mode: content.startsWith('#!') ? SCRIPT_MODE : FILE_MODE,
    })),
  );
}
