import { readFile, writeFile } from 'node:fs/promises';
import { printSchema } from 'graphql';
import { sortedSchema } from '../src/graphql/schema.ts';

const FILE = new URL('../schema/schema.graphql', import.meta.url);

// `npm run schema` writes the SDL; with --check it only says whether the committed one is current.
const printed = `${printSchema(sortedSchema)}\n`;
if (!process.argv.includes('--check')) {
  await writeFile(FILE, printed);
} else if ((await readFile(FILE, 'utf8').catch(() => '')) !== printed) {
  console.error('schema/schema.graphql is not what the code says: run "npm run schema" and commit it');
  process.exitCode = 1;
}
