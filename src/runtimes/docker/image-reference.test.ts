import { describe, expect, it } from 'vitest';
import { digestOf, loginFor, parseImage } from './image-reference.ts';

describe('a name of an image', () => {
  it.each([
    ['nginx', 'docker.io', 'docker.io/library/nginx', 'latest', null],
    ['nginx:1.27', 'docker.io', 'docker.io/library/nginx', '1.27', null],
    ['index.docker.io/team/app', 'docker.io', 'docker.io/team/app', 'latest', null],
    ['localhost/app', 'localhost', 'localhost/app', 'latest', null],
    ['registry:5000/team/app:a-b', 'registry:5000', 'registry:5000/team/app', 'a-b', null],
    ['ghcr.io/a/b@sha256:12', 'ghcr.io', 'ghcr.io/a/b', null, 'sha256:12'],
    ['nginx:1@sha256:12', 'docker.io', 'docker.io/library/nginx', '1', 'sha256:12'],
  ])('should be understood: %s', (name, host, repository, tag, digest) => {
    expect(parseImage(name)).toEqual({ host, repository, tag, digest });
  });

  it('should have the digest of its own repository', () => {
    const digests = ['other.example/nginx@sha256:1', 'nginx@sha256:2'];
    expect(digestOf('nginx:1.27', digests)).toBe('docker.io/library/nginx@sha256:2');
    expect(digestOf('team/nginx', digests)).toBeNull();
  });

  it('should find the login of its registry, whatever Docker Hub is called', () => {
    const logins = { 'https://index.docker.io/v1/': { user: 'a' }, 'ghcr.io': { user: 'b' } };
    expect(loginFor('docker.io', logins)).toEqual({ user: 'a', serveraddress: 'https://index.docker.io/v1/' });
    expect(loginFor('ghcr.io', logins)).toEqual({ user: 'b', serveraddress: 'ghcr.io' });
    expect(loginFor('quay.io', logins)).toBeUndefined();
  });
});
