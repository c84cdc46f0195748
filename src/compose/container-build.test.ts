import { describe, expect, it } from 'vitest';
import type { BuildModel } from './container-model.ts';
import { BUILD_EXAMPLE } from './support-example.ts';
import { check } from './testing.ts';

const FILES =
  'x-windflow: { files: { Dockerfile: "FROM a", app/Dockerfile: "FROM $b", app/src/x.js: x, app/dev.Dockerfile: "FROM c" } }\n';
const read = (build: string, variables: Record<string, string> | null = { REV: '7' }) =>
  check(`${FILES}services: { a: { image: "mine:1", build: ${build} } }`, { runtime: 'DOCKER', variables });
const build = (text: string, variables?: Record<string, string> | null): BuildModel | null | undefined =>
  read(text, variables).model?.services.a?.container.build;
const ALL = ['Dockerfile', 'app/Dockerfile', 'app/dev.Dockerfile', 'app/src/x.js'];
const APP = { Dockerfile: 'FROM $b', 'dev.Dockerfile': 'FROM c', 'src/x.js': 'x' };

describe('builds', () => {
  it('should be those of the example of the documentation', () => {
    const { model, said } = check(BUILD_EXAMPLE, { runtime: 'DOCKER', variables: {}, privileges: [] });
    expect(said).toEqual([]);
    expect(model).toMatchObject({ ingress: true });
    expect(model?.services.web?.container.files).toMatchObject([{ target: '/etc/nginx/conf.d/default.conf' }]);
  });

  it.each([
    ['.', ALL],
    ['./', ALL],
    ['{ context: . }', ALL],
    ['{ dockerfile: app/Dockerfile }', ALL],
    ['./app', Object.keys(APP)],
    ['app/', Object.keys(APP)],
    ['{ context: ./app/../app }', Object.keys(APP)],
    ['{ context: empty, dockerfile_inline: FROM x }', []],
  ])('should have a folder of the stack as their context: %s', (text, files) => {
    const { context } = build(text)!;
    expect(context.type === 'files' && Object.keys(context.files).sort()).toEqual(files);
  });

  it.each([
    'https://git.example/a/b.git',
    'https://git.example/a/b.git#main:folder',
    'http://git.example/b.git#v1',
    'git@git.example:a/b.git#main',
    'git://git.example/b',
    'ssh://git@git.example/a/b.git',
    'github.com/docker/buildx',
  ])('should have a repository as their context: %s', (url) => {
    expect(build(`"${url}"`)).toMatchObject({ context: { type: 'git', url }, dockerfile: 'Dockerfile' });
  });

  it('should be read with all that they say', () => {
    const text =
      '{ context: ./app, dockerfile: dev.Dockerfile, args: { A: 1, REV: }, labels: [l=1], target: dev, cache_from: ["x:1"], extra_hosts: ["h=1.2.3.4"], network: none, platforms: [linux/amd64], tags: ["t:1"], shm_size: 64m, no_cache: true, pull: "yes" }';
    expect(build(text)).toEqual({
      context: { type: 'files', files: APP },
      dockerfile: 'dev.Dockerfile',
      dockerfileInline: null,
      args: { A: '1', REV: '7' },
      labels: { l: '1' },
      target: 'dev',
      cacheFrom: ['x:1'],
      extraHosts: ['h:1.2.3.4'],
      network: 'none',
      platforms: ['linux/amd64'],
      tags: ['t:1'],
      shm: 67_108_864,
      noCache: true,
      pull: true,
    });
    expect(build('{ args: [A=1, REV, NONE], dockerfile_inline: FROM x }')).toMatchObject({
      args: { A: '1', REV: '7' },
      dockerfile: null,
      dockerfileInline: 'FROM x',
    });
    expect(build('{ args: [REV] }', null)).toMatchObject({ args: {} });
  });

  it.each([
    ['/srv/app', 'build-context'],
    ['../app', 'build-context'],
    ['~/app', 'build-context'],
    ['C:\\app', 'build-context'],
    ['https://host/app.tar.gz', 'build-context'],
    ['ssh://-oProxyCommand=x/y.git', 'build-context'],
    ['other', 'build-context'],
    ['{ context: app, dockerfile: none }', 'build-dockerfile'],
    ['{ context: app, dockerfile: ../Dockerfile }', 'build-dockerfile'],
    ['{ context: app/src }', 'build-dockerfile'],
    ['{ context: ., secrets: [s] }', 'key-unsupported'],
    ['{ context: ., ssh: [default] }', 'key-unsupported'],
    ['{ context: ., additional_contexts: [a=b] }', 'key-unsupported'],
    ['{ context: ., privileged: true }', 'key-unsupported'],
    ['{ context: ., entitlements: [network.host] }', 'key-unsupported'],
  ])('should be refused: %s (%s)', (text, rule) => {
    expect(read(text).findings).toContainEqual(expect.objectContaining({ severity: 'ERROR', rule }));
  });

  it('should be what both services say where one extends the other', () => {
    const services =
      'b: { image: "x:1", build: ./app, extra_hosts: ["h=1.2.3.4"] }, a: { extends: b, build: { args: [A=1] }, extra_hosts: ["i:5.6.7.8"] }, c: { extends: a, build: { args: { B: 2 } } }';
    const { model } = check(`${FILES}services: { ${services} }`, { runtime: 'DOCKER' });
    expect(model?.services.c?.container).toMatchObject({
      build: { context: { files: APP }, args: { A: '1', B: '2' } },
      extraHosts: ['h:1.2.3.4', 'i:5.6.7.8'],
    });
  });

  it('should be given a bounded number of files', () => {
    const files = Array.from({ length: 1001 }, (_, index) => `f${index}: x`).join(', ');
    const text = `x-windflow: { files: { ${files} } }\nservices: { a: { build: { dockerfile_inline: FROM x } } }`;
    expect(check(text, { runtime: 'DOCKER' }).findings.map(({ rule }) => rule)).toEqual(['too-many-files']);
  });
});
