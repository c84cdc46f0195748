import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { packTar } from '../../../src/runtimes/docker/tar.ts';
import { IMAGE } from './containers.ts';

const PROGRAMS = join(import.meta.dirname, 'stand-ins');
const BIN = '/usr/local/bin';
const STAND_IN = 'stand-in';
/** What a file may start in place of the entrypoint, or of what the entrypoint starts. */
const ALSO_CALLED = [
  '/entrypoint.sh',
  '/cron.sh',
  ...['celery', 'gunicorn', 'kafka-topics', 'nodemon', 'python'].map((name) => `${BIN}/${name}`),
];

/** What stands for an image: where it listens, and what it cannot do without. */
export type StandIn = {
  /** Ports that answer each request with a page. */
  http?: readonly number[];
  /** Ports that take connections. */
  tcp?: readonly number[];
  /** Variables that must be set, also as NAME_FILE; one of them: "A|B". */
  wants?: readonly string[];
  /** Variables that name a peer, where they are set, each with the port that is usual: "DB_HOST:5432". */
  needs?: readonly string[];
  /** Further instructions of a Dockerfile. */
  also?: readonly string[];
};

/** Gives an engine images that stand for those: "name:tag". They are made of IMAGE, no registry is asked. */
export async function addStandIns(docker: Docker, images: Readonly<Record<string, StandIn>>): Promise<void> {
  const container = await docker.createContainer({ Image: IMAGE });
  await container.putArchive(packTar(await programs()), { path: '/' });
  for (const [name, standIn] of Object.entries(images)) {
    const [, repo, tag] = /^(.*):(.*)$/.exec(name)!;
    await container.commit({ repo, tag, pause: false, changes: instructionsOf(name, standIn).join('\n') });
  }
  await container.remove();
}

async function programs() {
  const entries = await Promise.all(
    (await readdir(PROGRAMS)).map(async (name) => ({
      name: `${BIN}/${name}`.slice(1),
      content: await readFile(join(PROGRAMS, name), 'utf8'),
      mode: 0o755,
    })),
  );
  const content = `#!/bin/sh\nexec ${STAND_IN} "$@"\n`;
  return [...entries, ...ALSO_CALLED.map((path) => ({ name: path.slice(1), content, mode: 0o755 }))];
}

function instructionsOf(name: string, { http = [], tcp = [], wants = [], needs = [], also = [] }: StandIn): string[] {
  const variables = { STAND_IN: [name], HTTP: http, TCP: tcp, WANTS: wants, NEEDS: needs };
  return [
    `ENTRYPOINT ["${BIN}/${STAND_IN}"]`,
    'CMD []',
    `ENV PATH=${BIN}:/bin`,
    ...Object.entries(variables).map(([key, values]) => `ENV ${key}="${values.join(' ')}"`),
    ...[...http, ...tcp].map((port) => `EXPOSE ${port}`),
    ...also,
  ];
}
