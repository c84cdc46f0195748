import { readdirSync, readFileSync } from 'node:fs';

const ROOT = new URL('../../', import.meta.url);

/** The GraphQL texts of the README, in the order in which a newcomer pastes them. */
export function readmeOperations(): string[] {
  const readme = readFileSync(new URL('README.md', ROOT), 'utf8');
  return [...readme.matchAll(/^```graphql\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
}

/** The names of the examples that are stacks. */
export function exampleNames(): string[] {
  const folders = readdirSync(new URL('examples', ROOT), { withFileTypes: true, recursive: true });
  return folders.filter(({ name }) => name === 'compose.yaml').map(({ parentPath }) => parentPath.split('/').at(-1)!);
}

/** The compose file of an example. */
export function example(name: string): string {
  return readFileSync(new URL(`examples/${name}/compose.yaml`, ROOT), 'utf8');
}
