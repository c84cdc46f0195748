import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildSchema, parse, print, validate } from 'graphql';
import { afterAll, beforeAll, expect, it } from 'vitest';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const schemaFile = fileURLToPath(new URL('../../../schema/schema.graphql', import.meta.url));
// Installed by `npm run test:long` and by .ci/run, before their tests.
const compiler = join(here, 'node_modules/relay-compiler/cli.js');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windflow-relay-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Compiles the operations as a module of an application has them; rejects with what the compiler says. */
async function compile(operations: string): Promise<{ report: string; texts: string[] }> {
  await mkdir(join(folder, 'src'), { recursive: true });
  await mkdir(join(folder, 'artifacts'), { recursive: true });
  const definitions = parse(operations).definitions.map((definition) => `graphql\`${print(definition)}\`;`);
  await writeFile(join(folder, 'src/console.ts'), definitions.join('\n'));
  await copyFile(schemaFile, join(folder, 'schema.graphql'));
  const config = {
    src: './src',
    schema: './schema.graphql',
    language: 'typescript',
    artifactDirectory: './artifacts',
    persistConfig: { file: './texts.json', algorithm: 'SHA256' },
    requireCustomScalarTypes: true,
    customScalarTypes: { DateTime: 'string', JSON: 'unknown', SafeInt: 'number' },
  };
  await writeFile(join(folder, 'texts.json'), '{}');
  await writeFile(join(folder, 'relay.config.json'), JSON.stringify(config));
  const { stdout, stderr } = await run(process.execPath, [compiler, '--noWatchman', 'relay.config.json'], {
    cwd: folder,
  });
  return {
    report: stdout + stderr,
    texts: Object.values(JSON.parse(await readFile(join(folder, 'texts.json'), 'utf8'))),
  };
}

it('should compile with connections, refetchable fragments, result unions and subscriptions, to operations that are valid here', async () => {
  const { report, texts } = await compile(await readFile(join(here, 'console.graphql'), 'utf8'));
  expect(report).not.toMatch(/warn|error/i);
  const schema = buildSchema(await readFile(schemaFile, 'utf8'));
  expect(texts).toHaveLength(14);
  for (const text of texts) expect(validate(schema, parse(text)), text).toEqual([]);
});

it('should be refused by the compiler where an operation is wrong', async () => {
  const wrong = 'fragment console_stack on Stack @refetchable(queryName: "consoleStackQuery") { nothing }';
  await expect(compile(wrong)).rejects.toThrow(/nothing/);
});
