import { isAbsolute, normalize } from 'node:path/posix';
import type { BuildContext, BuildModel } from './container-model.ts';
import { readHosts } from './container-network.ts';
import { readPairs, readRecord, readSize, readText, readTexts, sortedRecord } from './container-values.ts';
import { EXTENSION, type InlineFiles, MAX_FOLDER_FILES } from './inline-files.ts';
import type { Variables } from './interpolation.ts';
import type { Place } from './place.ts';
import { didYouMean } from './spelling.ts';

const DEFAULT_DOCKERFILE = 'Dockerfile';
const CONTEXT_HINT = `Put the files under the top-level "${EXTENSION}: { files: { path: text } }" and name their folder, as in "." or "./app", or name a repository: "https://host/repository.git#branch:folder".`;
/** As the builder has it: addresses end in ".git", but for "git://", "git@host:path" and "ssh://". */
const GIT =
  /^(?:https?:\/\/[^\s#?]+\.git(?:[#?]\S*)?|git:\/\/\S+|ssh:\/\/[^\s-]\S*|git@[^\s:/-][^\s:/]*[:/]\S+|github\.com\/\S+)$/;

/** How a service's image is built; null where nothing is, or its context makes no sense. */
export function readBuild(build: Place, variables: Variables | null, files: InlineFiles): BuildModel | null {
  if (!build.exists) return null;
  const at = build.isMap ? build.get('context') : build;
  if (at.isUnresolved) return null;
  const inline = build.get('dockerfile_inline').resolvedText();
  const written = at.resolvedText();
  const context = readContext(written || '.', at.exists ? at : build, inline !== null, files);
  if (!context) return null;
  return {
    context,
    dockerfile: inline === null ? readDockerfile(build, context) : null,
    dockerfileInline: inline,
    args: readArguments(build.get('args'), variables),
    labels: readRecord(build.get('labels')),
    target: readText(build.get('target')),
    cacheFrom: readTexts(build.get('cache_from')),
    extraHosts: readHosts(build.get('extra_hosts')),
    network: readText(build.get('network')),
    platforms: readTexts(build.get('platforms')),
    tags: readTexts(build.get('tags')),
    shm: readSize(build.get('shm_size')) || null,
    noCache: build.get('no_cache').truth() ?? false,
    pull: build.get('pull').truth() ?? false,
  };
}

function readContext(text: string, at: Place, mayBeEmpty: boolean, files: InlineFiles): BuildContext | null {
  if (GIT.test(text)) return { type: 'git', url: text };
  const path = normalize(text);
  if (isAbsolute(path) || /^(?:~|\.\.(?:\/|$))|[\\:]/.test(path)) {
    at.error('build-context', `A build cannot be given ${at.quote()}: a stack is this one file.`, CONTEXT_HINT);
    return null;
  }
  const found = files.folder(path);
  const count = Object.keys(found).length;
  if (count > MAX_FOLDER_FILES) {
    at.error('too-many-files', `The context ${at.quote()} has more than ${MAX_FOLDER_FILES} files, the limit.`);
    return null;
  }
  if (count === 0 && !mayBeEmpty) {
    const place = at.isMap ? 'beside it' : `in ${at.quote()}`;
    at.error('build-context', `There are no files ${place} to build from: a stack is this one file.`, CONTEXT_HINT);
    return null;
  }
  return { type: 'files', files: found };
}

function readDockerfile(build: Place, context: BuildContext): string {
  const at = build.get('dockerfile');
  const text = readText(at) ?? DEFAULT_DOCKERFILE;
  const path = normalize(text);
  if (isAbsolute(path) || /^\.\.(?:\/|$)/.test(path)) {
    at.error('build-dockerfile', `${at.quote()} lies outside of the context.`, 'Name a file in it, relative to it.');
  } else if (context.type === 'files' && !at.isUnresolved && !Object.hasOwn(context.files, path)) {
    const shown = at.exists ? at.quote() : `"${DEFAULT_DOCKERFILE}"`;
    const otherwise = `Put its text under "${EXTENSION}: { files: … }", in the folder of the context, or into "dockerfile_inline".`;
    const suggestion = didYouMean(path, () => Object.keys(context.files), otherwise);
    const place = at.exists ? at : build;
    place.error('build-dockerfile', `The context has no file ${shown} to build by.`, suggestion);
  }
  return path;
}

/** A null value is the one of the environment's variable; without one, the Dockerfile's own default counts. */
function readArguments(place: Place, variables: Variables | null): Record<string, string> {
  const values = readPairs(place).flatMap(({ name, value, place: at }): [string, string][] => {
    if (value !== null) return [[name, value]];
    if (variables && Object.hasOwn(variables, name)) return [[name, variables[name]!]];
    if (variables) {
      const shown = place.isMap ? `"${name}"` : at.quote();
      at.info('variable-unset', `${shown} has no value here, and the environment sets none: the Dockerfile's counts.`);
    }
    return [];
  });
  return sortedRecord(values);
}
