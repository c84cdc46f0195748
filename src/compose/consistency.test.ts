import { describe, expect, it } from 'vitest';
import { said } from './testing.ts';

describe('what only makes sense together', () => {
  it.each([
    ['network_mode: host\nnetworks: []', []],
    ['build: { dockerfile: x }\nplatform: linux/amd64', []],
    ['platform: linux/amd64\nbuild: { platforms: [linux/amd64, linux/arm64] }', []],
    ['build: { secrets: [s, { source: s }] }', []],
    ['build: { secrets: [{ source: t }] }', ['4:26 ERROR secret-undeclared']],
    ['cpus: 0.5\ndeploy: { resources: { limits: { cpus: "0.50" } } }', []],
    ['cpus: 1\ndeploy: { resources: { limits: { cpus: "0.5" } } }', ['4:5 ERROR limits-conflict']],
    ['mem_limit: 1g\ndeploy: { resources: { limits: { memory: 1024m } } }', []],
    ['mem_reservation: 1g\ndeploy: { resources: { reservations: { memory: 1m } } }', ['4:5 ERROR limits-conflict']],
    ['pids_limit: 5\ndeploy: { resources: { limits: { pids: 6 } } }', ['4:5 ERROR limits-conflict']],
    ['container_name: only', []],
    ['container_name: only\ndeploy: { replicas: 2 }', ['4:5 ERROR container-name-conflict']],
    ['gpus: all', []],
    ['gpus: [{ count: 1 }, { device_ids: ["0"] }]', []],
    ['extra_hosts: ["a:1.2.3.4", "b=1.2.3.4", "c=::1"]', []],
    ['extra_hosts: { a: 1.2.3.4 }', []],
    ['extra_hosts: ["a="]', ['4:19 ERROR host-invalid']],
    ['develop: { watch: [{ action: sync+exec, path: a, exec: { command: x } }] }', ['4:24 ERROR watch-invalid']],
    ['develop: { watch: [{ action: restart, path: "" }] }', ['4:43 ERROR watch-invalid']],
  ])('should judge %j', (lines, expected) => {
    expect(said(lines)).toEqual(expected);
  });

  it('should not judge what variables decide', () => {
    const lines = 'cpus: ${A}\ndeploy: { resources: { limits: { cpus: "1" } } }\nextra_hosts: ["${B}"]';
    expect(said(lines).every((line) => line.endsWith('INFO variable-needed'))).toBe(true);
  });
});

describe('values that are only handed on', () => {
  it.each([
    'init: true',
    'init: "yes"',
    'privileged: "n"',
    'mem_limit: 100',
    'mem_limit: "512 MiB"',
    'memswap_limit: -1',
    'shm_size: 64M',
    'cpus: 0.5',
    'cpus: ".5"',
    'oom_score_adj: "-5"',
    'ulimits: { nofile: "1024", nproc: { soft: 1, hard: "2" } }',
    'volumes: [{ type: tmpfs, target: /t, tmpfs: { size: 1k } }]',
    'deploy: { update_config: { delay: 0s, monitor: 1m, parallelism: 2 } }',
  ])('should be accepted: %s', (lines) => {
    expect(said(lines)).toEqual([]);
  });

  it.each([
    ['tty: perhaps', 'boolean-invalid'],
    ['mem_limit: 5x', 'size-invalid'],
    ['memswap_limit: "-1"', 'size-invalid'],
    ['build: { context: x, shm_size: big }', 'size-invalid'],
    ['deploy: { resources: { reservations: { memory: 1 GB RAM } } }', 'size-invalid'],
    ['volumes: [{ type: tmpfs, target: /t, tmpfs: { size: 1kk } }]', 'size-invalid'],
    ['cpu_shares: few', 'number-invalid'],
    ['cpu_quota: "1.5"', 'number-invalid'],
    ['ulimits: { nofile: { soft: some, hard: 1 } }', 'number-invalid'],
    ['deploy: { resources: { limits: { cpus: "" } } }', 'number-invalid'],
    ['deploy: { update_config: { delay: soon } }', 'duration-invalid'],
    ['deploy: { restart_policy: { window: 5 minutes } }', 'duration-invalid'],
  ])('should be refused: %s, %s', (lines, rule) => {
    expect(said(lines).map((line) => line.split(' ').slice(1).join(' '))).toEqual([`ERROR ${rule}`]);
  });
});
