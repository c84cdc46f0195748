import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = new URL('../../', import.meta.url);
const text = readFileSync(new URL('docs/api.md', ROOT), 'utf8');
const blocks = (language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, block]) => block!);

/** The operations of docs/api.md. */
export const guideOperations = (): string[] => blocks('graphql');

// biome-ignore lint/suspicious/noExplicitAny: modules are as the guide has them.
type Module = Record<string, any>;

export type Guide = AsyncDisposable & {
  /** The names of its modules. */
  names: string[];
  load(name: string): Promise<Module>;
};

/** The modules of docs/api.md, as a reader copies them: each block a file, in a folder from which packages are found. */
export async function unpackGuide(): Promise<Guide> {
  const cache = fileURLToPath(new URL('node_modules/.cache/', ROOT));
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'api-guide-'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const names = blocks('js').map((block) => /^\/\/ ([a-z-]+\.js)\n/.exec(block)?.[1] ?? `without a name: ${block}`);
  await Promise.all(blocks('js').map((block, index) => writeFile(join(folder, names[index]!), block)));
  return {
    names,
    load: (name) => import(/* @vite-ignore */ pathToFileURL(join(folder, name)).href),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
