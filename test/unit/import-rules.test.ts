import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = new URL('../../src', import.meta.url).pathname;

type Room = {
  room: string;
  files: RegExp;
  mayImport: RegExp /** Edges that may be `import type`: they tie nobody at run time. */;
  types?: RegExp;
};

/** The rooms of docs/architecture.md, and what a file may import of ours beside its own room. The first that matches is a file's room. */
const ROOMS: readonly Room[] = [
  { room: 'shared', files: /^shared\//, mayImport: /^$/ },
  { room: 'db', files: /^db\//, mayImport: /^shared\// },
  { room: 'compose', files: /^compose\//, mayImport: /^shared\// },
  { room: 'runtimes', files: /^runtimes\//, mayImport: /^shared\//, types: /^compose\// },
  { room: 'models', files: /^models\//, mayImport: /^shared\// },
  { room: 'engine', files: /^engine\//, mayImport: /^(db|shared)\// },
  { room: 'realtime', files: /^realtime\//, mayImport: /^(db|shared)\// },
  {
    room: 'schemas of modules',
    files: /^modules\/.*schema\.ts$/,
    mayImport: /^(graphql|modules|shared|realtime)\//,
    types: /^(compose|db)\//,
  },
  {
    room: 'services of modules',
    files: /^modules\//,
    mayImport: /^(db|engine|realtime|compose|models|shared)\/|^runtimes\/runtime\.ts$/,
  },
  { room: 'the whole schema', files: /^graphql\/schema\.ts$/, mayImport: /^graphql\/|^modules\/.*schema\.ts$/ },
  { room: 'graphql', files: /^graphql\//, mayImport: /^(db|shared)\//, types: /^modules\// },
  { room: 'server', files: /^server\//, mayImport: /^(graphql|realtime|shared)\//, types: /^(db|modules)\// },
  { room: 'config', files: /^config\.ts$/, mayImport: /^shared\// },
  {
    room: 'services',
    files: /^create-services\.ts$/,
    mayImport: /^(modules|models|shared)\//,
    types: /^(graphql|runtimes)\//,
  },
  { room: 'app', files: /^(app|main)\.ts$/, mayImport: /./ },
];

type Edge = { from: string; to: string; typeOnly: boolean };

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
  (file) => /\.(ts|mjs)$/.test(file) && !/\.test\.ts$|\/testing\.ts$|\/generated\//.test(file),
);
const edges = files.flatMap(importsOf);
const roomOf = (file: string) => ROOMS.find(({ files: pattern }) => pattern.test(file));
const moduleOf = (file: string) => /^modules\/([^/]+)\//.exec(file)?.[1];
const isSchema = (file: string) => /schema\.ts$/.test(file);

function importsOf(file: string): Edge[] {
  // A type that a comment names, `import('./x.mjs').X`, is no import.
  const code = readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const statements = code.matchAll(
    /^(?:import|export)\s+(?:(type\s)?([^'";]*?)from\s+)?'(\.[^']+)'|import\('(\.[^']+)'\)/gm,
  );
  return [...statements].map(([, type, names = '', target, dynamic]) => ({
    from: file,
    to: join(dirname(file), target ?? dynamic!),
    typeOnly: type !== undefined || namesOnlyTypes(names),
  }));
}

function namesOnlyTypes(names: string): boolean {
  const inBraces = /^\{([^}]*)\}\s*$/
    .exec(names)?.[1]
    ?.split(',')
    .map((name) => name.trim());
  return inBraces?.every((name) => name === '' || name.startsWith('type ')) ?? false;
}

function show(wrong: Edge[]): string[] {
  return [...new Set(wrong.map(({ from, to, typeOnly }) => `${from} → ${to}${typeOnly ? ' (types)' : ''}`))];
}

describe('the rooms of the house', () => {
  it('should have every file in one of them', () => {
    expect(files.filter((file) => !roomOf(file))).toEqual([]);
    expect(edges.length).toBeGreaterThan(files.length);
  });

  it('should import only what their table allows', () => {
    const wrong = edges.filter(({ from, to, typeOnly }) => {
      const room = roomOf(from)!;
      if (roomOf(to)?.room === room.room || room.mayImport.test(to)) return false;
      return !(typeOnly && room.types?.test(to));
    });
    expect(show(wrong)).toEqual([]);
  });

  it('should let the schema of a module know of other modules only their schemas', () => {
    const wrong = edges.filter(({ from, to, typeOnly }) => {
      const foreign = moduleOf(to) !== undefined && moduleOf(to) !== moduleOf(from);
      return isSchema(from) && from.startsWith('modules/') && foreign && !isSchema(to) && !typeOnly;
    });
    expect(show(wrong)).toEqual([]);
  });

  it('should announce topics by one statement alone, which is what a bus over Redis looks for', () => {
    const announcing = files.filter((file) => /pg_notify|\bNOTIFY\b/.test(readFileSync(join(SRC, file), 'utf8')));
    expect(announcing).toEqual(['db/wake-ups.ts']);
  });

  it('should reach a concrete runtime from app.ts alone', () => {
    const direct = edges.filter(({ from, to }) => /^runtimes\/[^/]+\//.test(to) && !from.startsWith('runtimes/'));
    expect([...new Set(direct.map(({ from }) => from))]).toEqual(['app.ts']);
  });

  it('should read the environment in config.ts alone', () => {
    const readers = files.filter((file) => /process\.env\b/.test(readFileSync(join(SRC, file), 'utf8')));
    expect(readers).toEqual(['config.ts']);
  });

  it('should have no cycle between the services of modules', () => {
    const next = Map.groupBy(
      edges.filter(({ from, to, typeOnly }) => !typeOnly && !isSchema(from) && !isSchema(to)),
      ({ from }) => moduleOf(from),
    );
    const cycles = new Set<string>();
    const visit = (module: string, path: string[]): void => {
      if (path.includes(module)) {
        cycles.add([...path.slice(path.indexOf(module)), module].join(' → '));
        return;
      }
      const targets = new Set(next.get(module)?.map(({ to }) => moduleOf(to)));
      for (const target of targets) if (target && target !== module) visit(target, [...path, module]);
    };
    for (const module of next.keys()) if (module) visit(module, []);
    expect([...cycles]).toEqual([]);
  });
});
