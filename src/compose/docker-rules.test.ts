import { describe, expect, it } from 'vitest';
import { check, said } from './testing.ts';

const problems = (service: string, rest = '') =>
  check(`services: { a: { ${service} }, b: { image: "y:1" } }\n${rest}`, {
    runtime: 'DOCKER',
    variables: {},
  }).findings.map(({ severity, rule }) => `${severity} ${rule}`);

describe('the rules of DOCKER', () => {
  it.each<[string, string[]]>([
    ['image: "x:1"', []],
    ['command: x', ['ERROR docker-image']],
    ['image: "", command: x', ['ERROR docker-image']],
    ['image: x', ['INFO image-tag']],
    ['image: "x:latest"', ['INFO image-tag']],
    ['build: { dockerfile_inline: FROM x }', []],
    ['image: x, build: { dockerfile_inline: FROM x }, pull_policy: build', []],
    [`image: "x@sha256:${'0'.repeat(64)}", build: { dockerfile_inline: FROM x }`, ['ERROR image-invalid']],
    [`image: "x@sha256:${'0'.repeat(64)}"`, []],
    ['image: "https://x/y"', ['ERROR image-invalid']],
    ['image: "x:1", cap_add: [SYS_ADMN]', ['ERROR capability-unknown']],
    ['image: "x:1", ipc: mine', ['ERROR namespace-invalid']],
    ['image: "x:1", pid: private', []],
    ['image: "x:1", uts: "service:b"', ['ERROR namespace-invalid']],
    ['image: "x:1", pid: "service:b"', []],
    ['image: "x:1", userns_mode: keep-id', ['ERROR namespace-invalid']],
    ['image: "x:1", volumes_from: ["b:rx"]', ['ERROR volumes-from-invalid']],
    ['image: "x:1", volumes_from: ["b:ro"]', []],
    ['image: "x:1", logging: { driver: none }', ['WARNING logging-unreadable']],
    ['image: "x:1", logging: { driver: syslog }', ['WARNING logging-unreadable']],
    ['image: "x:1", logging: { driver: journald }', []],
    ['image: "x:1", healthcheck: { interval: 5s }', ['WARNING docker-health']],
    ['image: "x:1", healthcheck: { disable: true }', []],
    ['image: "x:1", deploy: { mode: global }', ['WARNING key-ignored']],
    ['image: "x:1", deploy: { mode: replicated-job }', ['ERROR key-unsupported']],
    ['image: "x:1", deploy: { mode: other }', ['ERROR deploy-mode-invalid']],
    ['image: "x:1", container_name: cc, scale: 2', ['ERROR container-name-conflict']],
    ['image: "x:1", container_name: cc', []],
    ['image: "x:1", container_name: "cc d"', ['ERROR container-name-invalid']],
    ['image: "x:1", ports: ["8080:80"], scale: 2', ['ERROR replicas-port']],
    ['image: "x:1", ports: ["8080-8081:80"], scale: 2', []],
    ['image: "x:1", ports: ["80"], scale: 2', []],
  ])('should say of { %s }: %j', (service, expected) => {
    expect(problems(service)).toEqual(expected);
  });

  it('should let replicas share a port behind the ingress, but not services', () => {
    const ports = 'image: "x:1", ports: ["8080:80"], scale: 2';
    expect(problems(ports, 'x-windflow: { ingress: true }')).toEqual([]);
    expect(problems(ports, 'x-windflow: { ingress: false }')).toEqual(['ERROR replicas-port']);
    const text = 'services: { a: { image: "x:1", ports: ["80:1"] }, b: { image: "x:1", ports: ["80:1"] } }';
    expect(check(`${text}\nx-windflow: { ingress: true }`, { runtime: 'DOCKER' }).said).toEqual([
      '1:78 ERROR port-duplicate',
    ]);
  });

  it.each<[string, boolean | null, string[]]>([
    ['{ ingress: true }', true, []],
    ['{ ingress: "no" }', false, []],
    ['{ ingress: "${WANTED}" }', true, []],
    ['{ files: {} }', false, []],
    ['{ ingress: 5 }', null, ['ERROR boolean-invalid']],
    ['{ ingress: { on: true } }', null, ['ERROR boolean-invalid']],
    ['{ ingres: true }', false, ['WARNING key-ignored']],
  ])('should read x-windflow: %s', (extension, ingress, expected) => {
    const text = `services: { a: { image: "x:1" } }\nx-windflow: ${extension}`;
    const { model, findings } = check(text, { runtime: 'DOCKER', variables: { WANTED: 'true' } });
    expect(model?.ingress ?? null).toBe(ingress);
    expect(findings.map(({ severity, rule }) => `${severity} ${rule}`)).toEqual(expected);
  });

  it('should know when two services ask for one name of a container', () => {
    const text = 'services: { a: { image: "x:1", container_name: cc }, b: { image: "x:1", container_name: cc } }';
    expect(check(text, { runtime: 'DOCKER' }).said).toEqual(['1:73 ERROR container-name-conflict']);
  });

  it('should count what containers are given for each replica', () => {
    const text = `x-windflow: { files: { big: ${'x'.repeat(400_000)} } }\nservices: { a: { image: "x:1", scale: 50, volumes: ["./big:/b"] } }`;
    expect(check(text, { runtime: 'DOCKER' }).findings.map(({ rule }) => rule)).toEqual(['stack-too-large']);
    expect(check(text).findings.map(({ rule }) => rule)).not.toContain('stack-too-large');
  });

  it('should be of no concern where a value is not known yet', () => {
    const lines =
      'cap_add: ["${CAP}"]\nnetwork_mode: "${MODE}"\nipc: "${IPC}"\nlogging: { driver: "${LOG}" }\ndns: "${DNS}"';
    const found = said(lines, { runtime: 'DOCKER', variables: null }).filter((line) => !line.includes(' INFO '));
    expect(found).toEqual([]);
  });
});
