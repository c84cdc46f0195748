import { describe, expect, it } from 'vitest';
import type { ContainerMount } from './container-model.ts';
import { check } from './testing.ts';

const FILES = 'x-windflow: { files: { web.conf: "a $b", conf/one: "1", conf/sub/run.sh: "#!/bin/sh", other: o } }\n';
const read = (lines: string) =>
  check(`${FILES}services: { a: { image: "x:1", ${lines} } }\nvolumes: { v: , w: }`, { runtime: 'DOCKER' });
const container = (lines: string) => read(lines).model?.services.a?.container;

const bind = { readOnly: false, propagation: null, createHostPath: true, selinux: null };
const volume = { type: 'volume', source: 'v', target: '/d', readOnly: false, copy: true, subpath: null };

describe('mounts of a container', () => {
  it.each<[string, object]>([
    ['v:/d', volume],
    ['v:/d:ro', { ...volume, readOnly: true }],
    ['v:/d:nocopy', { ...volume, copy: false }],
    ['/d', { ...volume, source: null }],
    ['/srv/:/d', { type: 'bind', source: '/srv', target: '/d', ...bind }],
    ['/a/../srv:/d:ro,z', { type: 'bind', source: '/srv', target: '/d', ...bind, readOnly: true, selinux: 'z' }],
    ['/srv:/d:rslave,Z', { type: 'bind', source: '/srv', target: '/d', ...bind, propagation: 'rslave', selinux: 'Z' }],
  ])('should be read of the short form %s', (entry, expected) => {
    expect(container(`volumes: ["${entry}"]`)?.mounts).toEqual([expected]);
  });

  it.each<[string, object]>([
    [
      '{ type: volume, source: v, target: /d, read_only: true, volume: { nocopy: "yes", subpath: sub } }',
      { ...volume, readOnly: true, copy: false, subpath: 'sub' },
    ],
    ['{ type: volume, target: /d }', { ...volume, source: null }],
    [
      '{ type: bind, source: /s, target: /d, bind: { propagation: shared, create_host_path: false, selinux: Z } }',
      { type: 'bind', source: '/s', target: '/d', ...bind, propagation: 'shared', createHostPath: false, selinux: 'Z' },
    ],
    [
      '{ type: tmpfs, target: /d, tmpfs: { size: 64m, mode: 01777 } }',
      { type: 'tmpfs', target: '/d', readOnly: false, size: 67_108_864, mode: 0o1777 },
    ],
    [
      '{ type: tmpfs, target: /d, tmpfs: { size: 1024 } }',
      { type: 'tmpfs', target: '/d', readOnly: false, size: 1024, mode: null },
    ],
  ])('should be read of the long form %s', (entry, expected) => {
    expect(container(`volumes: [${entry}]`)?.mounts).toEqual([expected]);
  });

  it.each<[string, ContainerMount[]]>([
    ['tmpfs: /run', [{ type: 'tmpfs', target: '/run', readOnly: false, size: null, mode: null }]],
    [
      'tmpfs: ["/run:size=64k,mode=755,ro", /tmp]',
      [
        { type: 'tmpfs', target: '/run', readOnly: true, size: 65_536, mode: 0o755 },
        { type: 'tmpfs', target: '/tmp', readOnly: false, size: null, mode: null },
      ],
    ],
  ])('should be read of %s', (lines, expected) => {
    expect(container(lines)?.mounts).toEqual(expected);
  });

  it.each([
    ['["./web.conf:/etc/web.conf:ro"]', [['/etc/web.conf', 'a $b', 0o644]]],
    ['[{ type: bind, source: web.conf, target: /w }]', [['/w', 'a $b', 0o644]]],
    [
      '["./conf/:/etc/c/"]',
      [
        ['/etc/c/one', '1', 0o644],
        ['/etc/c/sub/run.sh', '#!/bin/sh', 0o755],
      ],
    ],
  ])('should be files of the stack, of %s', (volumes, expected) => {
    const { mounts, files } = container(`volumes: ${volumes}`)!;
    expect(mounts).toEqual([]);
    expect(files.map(({ target, content, mode }) => [target, content, mode])).toEqual(expected);
  });

  it.each([
    ['volumes: ["./data:/data"]', 'docker-mount'],
    ['volumes: ["~/x:/data"]', 'docker-mount'],
    ['volumes: ["C:\\\\x:/data"]', 'docker-mount'],
    ['volumes: ["v:data"]', 'docker-mount'],
    ['volumes: ["v:/"]', 'docker-mount'],
    ['volumes: [{ type: image, source: i, target: /d }]', 'docker-mount'],
    ['volumes: [{ type: npipe, source: i, target: /d }]', 'docker-mount'],
    ['volumes: [{ type: cluster, source: i, target: /d }]', 'docker-mount'],
    ['volumes: [{ type: bind, source: /s, target: /d, bind: { propagation: all } }]', 'docker-mount'],
    ['tmpfs: run', 'docker-mount'],
    ['tmpfs: /run, volumes: ["v:/run/"]', 'target-duplicate'],
  ])('should be refused of %s: %s', (lines, rule) => {
    expect(read(lines).findings).toContainEqual(expect.objectContaining({ severity: 'ERROR', rule }));
  });

  it('should tell of options of a tmpfs that are not used', () => {
    expect(read('tmpfs: "/run:noexec,uid=5"').findings).toContainEqual(
      expect.objectContaining({ severity: 'WARNING', rule: 'tmpfs-option' }),
    );
    expect(read('tmpfs: "/run:noexec"').findings.map(({ rule }) => rule)).not.toContain('tmpfs-option');
  });

  it('should tell which files nobody reads, and bound how many a service binds', () => {
    const unused = read('volumes: ["./conf:/c"]').findings.filter(({ rule }) => rule === 'unused');
    expect(unused.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['x-windflow.files["web.conf"]', 'x-windflow.files.other']),
    );
    const files = Array.from({ length: 1001 }, (_, index) => `d/${index}: x`).join(', ');
    const text = `x-windflow: { files: { ${files} } }\nservices: { a: { image: "x:1", volumes: ["./d:/d"] } }`;
    expect(check(text, { runtime: 'DOCKER' }).findings.map(({ rule }) => rule)).toEqual(['too-many-files']);
  });
});
