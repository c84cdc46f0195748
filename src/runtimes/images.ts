import type { BuildModel, PullPolicy } from '../compose/index.ts';
import type { Healthcheck, StackRef } from './runtime.ts';

export type ImageRequest = {
  service: string;
  /** As written; null: only `build` says, and the image is named after the project and the service. */
  name: string | null;
  build: BuildModel | null;
  pullPolicy: PullPolicy;
  /** "linux/arm64"; null: the engine's own. */
  platform: string | null;
};

/** An image, and nothing but this very one, whatever its tag means later. */
export type ResolvedImage = {
  /** What is shown: "nginx:1.27". */
  name: string;
  /** What the engine knows it by: "sha256:…". */
  id: string;
  /** Where it can be pulled again: "docker.io/library/nginx@sha256:…"; null: it was built or imported. */
  digest: string | null;
  platform: string | null;
  /** The image's own, where the service has none. */
  healthcheck: Healthcheck | null;
};

/** What pulling or building says. */
export type ImageLine = { service: string; text: string };

/** The images of a runtime that has containers. Each method throws RuntimeError with one clause that names the service. */
export interface ImageStore {
  /** Pulls and builds what is asked for, in this order; the signal's abort ends it. Nothing that runs is touched. */
  resolve(
    stack: StackRef & { project: string },
    requests: readonly ImageRequest[],
    tell: (line: ImageLine) => void,
    signal: AbortSignal,
  ): Promise<ResolvedImage[]>;
  /** What `resolve` would come to, as far as it can be known without pulling or building; null: it cannot. Changes nothing. */
  look(stack: StackRef & { project: string }, requests: readonly ImageRequest[]): Promise<(ResolvedImage | null)[]>;
  /** Sees to it that images of an earlier release are there, pulled by their digest if need be. */
  require(
    stack: StackRef,
    images: readonly (ResolvedImage & { service: string })[],
    tell: (line: ImageLine) => void,
    signal: AbortSignal,
  ): Promise<void>;
}
