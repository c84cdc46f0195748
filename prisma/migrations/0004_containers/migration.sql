-- What an engine's endpoint needs to be reached, encrypted, and which engine answered there first: another one is not the same host.
ALTER TABLE "hosts" ADD COLUMN "connection" TEXT, ADD COLUMN "engine_id" TEXT;

-- What containers of an environment may do beyond their own walls, as an owner allowed it.
ALTER TABLE "environments" ADD COLUMN "privileges" TEXT[] DEFAULT ARRAY[]::TEXT[];

-- A process has a host, containers have an engine.
ALTER TABLE "environments" DROP CONSTRAINT "environments_process_has_a_host";
ALTER TABLE "environments"
  ADD CONSTRAINT "environments_has_a_host" CHECK (("runtime" IN ('PROCESS', 'DOCKER')) = ("host_id" IS NOT NULL));

-- How far the log of one instance was read, in runtimes in which each has its own. Outside the datamodel, like "log_offsets".
CREATE TABLE "instance_log_offsets" (
  "instance_id" uuid PRIMARY KEY REFERENCES "instances" ("id") ON DELETE CASCADE,
  "position" bigint NOT NULL DEFAULT 0,
  "streams" jsonb NOT NULL DEFAULT '{}',
  "updated_at" timestamptz(3) NOT NULL DEFAULT now()
);

-- A deployment that fails soon after it went live is reverted.
ALTER TABLE "deployments" ADD COLUMN "watch_seconds" INTEGER NOT NULL DEFAULT 60, ADD COLUMN "watch_until" TIMESTAMPTZ(3);
