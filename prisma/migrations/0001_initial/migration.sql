CREATE TYPE "Role" AS ENUM ('OWNER', 'ADMIN', 'DEVELOPER', 'VIEWER');

CREATE TYPE "RuntimeKind" AS ENUM ('PROCESS', 'DOCKER', 'SWARM', 'KUBERNETES');

CREATE TYPE "EnvironmentType" AS ENUM ('DEVELOPMENT', 'STAGING', 'PRODUCTION');

CREATE TYPE "DeploymentStatus" AS ENUM ('QUEUED', 'PREPARING', 'DEPLOYING', 'VERIFYING', 'RUNNING', 'DEGRADED', 'STOPPING', 'CANCELLING', 'STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED');

CREATE TYPE "DeploymentTrigger" AS ENUM ('MANUAL', 'ROLLBACK', 'REDEPLOY', 'WORKFLOW', 'SCHEDULE', 'WEBHOOK');

CREATE TYPE "DeploymentStrategy" AS ENUM ('RECREATE', 'ROLLING', 'BLUE_GREEN');

CREATE TYPE "StepState" AS ENUM ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'SKIPPED');

CREATE TYPE "ServiceState" AS ENUM ('PENDING', 'STARTING', 'RUNNING', 'HEALTHY', 'UNHEALTHY', 'RESTARTING', 'EXITED', 'STOPPED');

CREATE TABLE "keys" (
    "id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "material" TEXT NOT NULL,
    "public_jwk" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retired_at" TIMESTAMPTZ(3),

    CONSTRAINT "keys_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "users" (
    "id" UUID NOT NULL,
    "username" TEXT NOT NULL,
    "username_key" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "email_key" TEXT NOT NULL,
    "password_hash" TEXT NOT NULL,
    "is_superadmin" BOOLEAN NOT NULL DEFAULT false,
    "last_login_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "users_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "sessions" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "user_agent" TEXT,
    "ip_address" TEXT,
    "remember_me" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_used_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "sessions_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "refresh_tokens" (
    "token_hash" TEXT NOT NULL,
    "session_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "used_at" TIMESTAMPTZ(3),

    CONSTRAINT "refresh_tokens_pkey" PRIMARY KEY ("token_hash")
);

CREATE TABLE "login_throttles" (
    "key" TEXT NOT NULL,
    "failures" INTEGER NOT NULL DEFAULT 0,
    "window_ends_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "login_throttles_pkey" PRIMARY KEY ("key")
);

CREATE TABLE "organizations" (
    "id" UUID NOT NULL,
    "slug" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "settings" JSONB NOT NULL DEFAULT '{}',
    "is_active" BOOLEAN NOT NULL DEFAULT true,
    "allowed_runtimes" "RuntimeKind"[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "organizations_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "organization_members" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "role" "Role" NOT NULL,
    "joined_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "organization_members_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "invitations" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "email" TEXT NOT NULL,
    "email_key" TEXT NOT NULL,
    "role" "Role" NOT NULL,
    "token_hash" TEXT NOT NULL,
    "invited_by_id" UUID,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "invitations_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "hosts" (
    "id" UUID NOT NULL,
    "machine_id" TEXT NOT NULL,
    "runtime_directory" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "epoch" INTEGER NOT NULL DEFAULT 0,
    "holder_id" UUID,
    "holder_boot_id" TEXT,
    "lease_expires_at" TIMESTAMPTZ(3),
    "next_uid_offset" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "hosts_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "environments" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "slug" TEXT NOT NULL,
    "type" "EnvironmentType" NOT NULL,
    "runtime" "RuntimeKind" NOT NULL,
    "runtime_config" TEXT,
    "host_id" UUID,
    "uid_offset" INTEGER,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "environments_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "variables" (
    "id" UUID NOT NULL,
    "environment_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "is_secret" BOOLEAN NOT NULL,
    "value" TEXT,
    "version_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "variables_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "secret_versions" (
    "id" UUID NOT NULL,
    "variable_id" UUID NOT NULL,
    "ciphertext" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "secret_versions_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "stacks" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "slug" TEXT NOT NULL,
    "description" TEXT,
    "current_number" INTEGER NOT NULL,
    "last_deployed_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stacks_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "stack_versions" (
    "id" UUID NOT NULL,
    "stack_id" UUID NOT NULL,
    "number" INTEGER NOT NULL,
    "compose" TEXT NOT NULL,
    "services" JSONB NOT NULL,
    "created_by_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stack_versions_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "stack_environments" (
    "id" UUID NOT NULL,
    "stack_id" UUID NOT NULL,
    "environment_id" UUID NOT NULL,
    "last_number" INTEGER NOT NULL DEFAULT 0,
    "active_deployment_id" UUID,
    "live_deployment_id" UUID,

    CONSTRAINT "stack_environments_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "deployments" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "stack_id" UUID NOT NULL,
    "stack_version_id" UUID NOT NULL,
    "environment_id" UUID NOT NULL,
    "stack_environment_id" UUID NOT NULL,
    "number" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "status" "DeploymentStatus" NOT NULL DEFAULT 'QUEUED',
    "status_reason" TEXT,
    "strategy" "DeploymentStrategy" NOT NULL DEFAULT 'RECREATE',
    "trigger" "DeploymentTrigger" NOT NULL DEFAULT 'MANUAL',
    "progress" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "auto_rollback" BOOLEAN NOT NULL DEFAULT true,
    "health_timeout_seconds" INTEGER NOT NULL DEFAULT 120,
    "release_id" UUID,
    "rollback_of_id" UUID,
    "source_id" UUID,
    "superseded_by_id" UUID,
    "created_by_id" UUID,
    "epoch" INTEGER NOT NULL DEFAULT 0,
    "deadline_at" TIMESTAMPTZ(3),
    "cancel_requested_at" TIMESTAMPTZ(3),
    "stop_requested_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "live_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "deployments_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "deployment_steps" (
    "deployment_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "state" "StepState" NOT NULL DEFAULT 'PENDING',
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "message" TEXT,

    CONSTRAINT "deployment_steps_pkey" PRIMARY KEY ("deployment_id","position")
);

CREATE TABLE "releases" (
    "id" UUID NOT NULL,
    "stack_version_id" UUID NOT NULL,
    "specs" TEXT NOT NULL,
    "secrets" JSONB NOT NULL,
    "ports" JSONB NOT NULL,
    "config_hashes" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "releases_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "instances" (
    "id" UUID NOT NULL,
    "stack_environment_id" UUID NOT NULL,
    "deployment_id" UUID NOT NULL,
    "release_id" UUID NOT NULL,
    "service" TEXT NOT NULL,
    "replica" INTEGER NOT NULL,
    "config_hash" TEXT NOT NULL,
    "state" "ServiceState" NOT NULL DEFAULT 'PENDING',
    "restarts" INTEGER NOT NULL DEFAULT 0,
    "exit_code" INTEGER,
    "reason" TEXT,
    "ports" JSONB NOT NULL DEFAULT '[]',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "removed_at" TIMESTAMPTZ(3),

    CONSTRAINT "instances_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "port_reservations" (
    "host_id" UUID NOT NULL,
    "port" INTEGER NOT NULL,
    "protocol" TEXT NOT NULL,
    "stack_environment_id" UUID NOT NULL,

    CONSTRAINT "port_reservations_pkey" PRIMARY KEY ("host_id","port","protocol")
);

CREATE TABLE "stack_removals" (
    "stack_environment_id" UUID NOT NULL,
    "environment_id" UUID NOT NULL,
    "stack_id" UUID NOT NULL,
    "host_id" UUID NOT NULL,
    "uid_offset" INTEGER,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stack_removals_pkey" PRIMARY KEY ("stack_environment_id")
);

CREATE TABLE "idempotency_keys" (
    "user_id" UUID NOT NULL,
    "key" TEXT NOT NULL,
    "operation" TEXT NOT NULL,
    "input_hash" TEXT NOT NULL,
    "entity_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("user_id","key")
);

CREATE INDEX "keys_kind_idx" ON "keys"("kind");

CREATE UNIQUE INDEX "users_username_key_key" ON "users"("username_key");

CREATE UNIQUE INDEX "users_email_key_key" ON "users"("email_key");

CREATE INDEX "sessions_user_id_created_at_idx" ON "sessions"("user_id", "created_at");

CREATE INDEX "sessions_expires_at_idx" ON "sessions"("expires_at");

CREATE INDEX "refresh_tokens_session_id_idx" ON "refresh_tokens"("session_id");

CREATE INDEX "login_throttles_window_ends_at_idx" ON "login_throttles"("window_ends_at");

CREATE UNIQUE INDEX "organizations_slug_key" ON "organizations"("slug");

CREATE INDEX "organizations_name_id_idx" ON "organizations"("name", "id");

CREATE INDEX "organizations_created_at_id_idx" ON "organizations"("created_at", "id");

CREATE INDEX "organization_members_user_id_joined_at_idx" ON "organization_members"("user_id", "joined_at");

CREATE UNIQUE INDEX "organization_members_organization_id_user_id_key" ON "organization_members"("organization_id", "user_id");

CREATE UNIQUE INDEX "invitations_token_hash_key" ON "invitations"("token_hash");

CREATE UNIQUE INDEX "invitations_organization_id_email_key_key" ON "invitations"("organization_id", "email_key");

CREATE UNIQUE INDEX "hosts_machine_id_runtime_directory_key" ON "hosts"("machine_id", "runtime_directory");

CREATE INDEX "environments_organization_id_created_at_id_idx" ON "environments"("organization_id", "created_at", "id");

CREATE UNIQUE INDEX "environments_organization_id_slug_key" ON "environments"("organization_id", "slug");

CREATE UNIQUE INDEX "environments_host_id_uid_offset_key" ON "environments"("host_id", "uid_offset");

CREATE UNIQUE INDEX "variables_environment_id_name_key" ON "variables"("environment_id", "name");

CREATE INDEX "secret_versions_variable_id_idx" ON "secret_versions"("variable_id");

CREATE INDEX "stacks_organization_id_created_at_id_idx" ON "stacks"("organization_id", "created_at", "id");

CREATE INDEX "stacks_organization_id_name_id_idx" ON "stacks"("organization_id", "name", "id");

CREATE UNIQUE INDEX "stacks_organization_id_slug_key" ON "stacks"("organization_id", "slug");

CREATE UNIQUE INDEX "stack_versions_stack_id_number_key" ON "stack_versions"("stack_id", "number");

CREATE UNIQUE INDEX "stack_environments_active_deployment_id_key" ON "stack_environments"("active_deployment_id");

CREATE UNIQUE INDEX "stack_environments_live_deployment_id_key" ON "stack_environments"("live_deployment_id");

CREATE INDEX "stack_environments_environment_id_idx" ON "stack_environments"("environment_id");

CREATE UNIQUE INDEX "stack_environments_stack_id_environment_id_key" ON "stack_environments"("stack_id", "environment_id");

CREATE UNIQUE INDEX "deployments_release_id_key" ON "deployments"("release_id");

CREATE INDEX "deployments_organization_id_created_at_id_idx" ON "deployments"("organization_id", "created_at", "id");

CREATE INDEX "deployments_stack_id_created_at_id_idx" ON "deployments"("stack_id", "created_at", "id");

CREATE INDEX "deployments_environment_id_created_at_id_idx" ON "deployments"("environment_id", "created_at", "id");

CREATE INDEX "deployments_stack_version_id_idx" ON "deployments"("stack_version_id");

CREATE INDEX "deployments_rollback_of_id_idx" ON "deployments"("rollback_of_id");

CREATE INDEX "deployments_source_id_idx" ON "deployments"("source_id");

CREATE INDEX "deployments_superseded_by_id_idx" ON "deployments"("superseded_by_id");

CREATE UNIQUE INDEX "deployments_stack_environment_id_number_key" ON "deployments"("stack_environment_id", "number");

CREATE INDEX "releases_stack_version_id_idx" ON "releases"("stack_version_id");

CREATE INDEX "instances_stack_environment_id_removed_at_idx" ON "instances"("stack_environment_id", "removed_at");

CREATE INDEX "instances_deployment_id_idx" ON "instances"("deployment_id");

CREATE INDEX "instances_release_id_idx" ON "instances"("release_id");

CREATE INDEX "port_reservations_stack_environment_id_idx" ON "port_reservations"("stack_environment_id");

CREATE INDEX "stack_removals_host_id_created_at_idx" ON "stack_removals"("host_id", "created_at");

CREATE INDEX "idempotency_keys_created_at_idx" ON "idempotency_keys"("created_at");

ALTER TABLE "sessions" ADD CONSTRAINT "sessions_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "refresh_tokens" ADD CONSTRAINT "refresh_tokens_session_id_fkey" FOREIGN KEY ("session_id") REFERENCES "sessions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "organization_members" ADD CONSTRAINT "organization_members_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "organization_members" ADD CONSTRAINT "organization_members_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "invitations" ADD CONSTRAINT "invitations_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "invitations" ADD CONSTRAINT "invitations_invited_by_id_fkey" FOREIGN KEY ("invited_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "environments" ADD CONSTRAINT "environments_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "environments" ADD CONSTRAINT "environments_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "hosts"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

ALTER TABLE "variables" ADD CONSTRAINT "variables_environment_id_fkey" FOREIGN KEY ("environment_id") REFERENCES "environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "secret_versions" ADD CONSTRAINT "secret_versions_variable_id_fkey" FOREIGN KEY ("variable_id") REFERENCES "variables"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stacks" ADD CONSTRAINT "stacks_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stack_versions" ADD CONSTRAINT "stack_versions_stack_id_fkey" FOREIGN KEY ("stack_id") REFERENCES "stacks"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stack_versions" ADD CONSTRAINT "stack_versions_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "stack_environments" ADD CONSTRAINT "stack_environments_stack_id_fkey" FOREIGN KEY ("stack_id") REFERENCES "stacks"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stack_environments" ADD CONSTRAINT "stack_environments_environment_id_fkey" FOREIGN KEY ("environment_id") REFERENCES "environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stack_environments" ADD CONSTRAINT "stack_environments_active_deployment_id_fkey" FOREIGN KEY ("active_deployment_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "stack_environments" ADD CONSTRAINT "stack_environments_live_deployment_id_fkey" FOREIGN KEY ("live_deployment_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_stack_id_fkey" FOREIGN KEY ("stack_id") REFERENCES "stacks"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_stack_version_id_fkey" FOREIGN KEY ("stack_version_id") REFERENCES "stack_versions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_environment_id_fkey" FOREIGN KEY ("environment_id") REFERENCES "environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_stack_environment_id_fkey" FOREIGN KEY ("stack_environment_id") REFERENCES "stack_environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_release_id_fkey" FOREIGN KEY ("release_id") REFERENCES "releases"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_rollback_of_id_fkey" FOREIGN KEY ("rollback_of_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_source_id_fkey" FOREIGN KEY ("source_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_superseded_by_id_fkey" FOREIGN KEY ("superseded_by_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployments" ADD CONSTRAINT "deployments_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "deployment_steps" ADD CONSTRAINT "deployment_steps_deployment_id_fkey" FOREIGN KEY ("deployment_id") REFERENCES "deployments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "releases" ADD CONSTRAINT "releases_stack_version_id_fkey" FOREIGN KEY ("stack_version_id") REFERENCES "stack_versions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "instances" ADD CONSTRAINT "instances_stack_environment_id_fkey" FOREIGN KEY ("stack_environment_id") REFERENCES "stack_environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "instances" ADD CONSTRAINT "instances_deployment_id_fkey" FOREIGN KEY ("deployment_id") REFERENCES "deployments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "instances" ADD CONSTRAINT "instances_release_id_fkey" FOREIGN KEY ("release_id") REFERENCES "releases"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "port_reservations" ADD CONSTRAINT "port_reservations_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "hosts"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "port_reservations" ADD CONSTRAINT "port_reservations_stack_environment_id_fkey" FOREIGN KEY ("stack_environment_id") REFERENCES "stack_environments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "stack_removals" ADD CONSTRAINT "stack_removals_host_id_fkey" FOREIGN KEY ("host_id") REFERENCES "hosts"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- What the datamodel cannot say: rules that hold whoever writes.

CREATE UNIQUE INDEX "keys_one_fingerprint" ON "keys" ("kind") WHERE "kind" = 'fingerprint';

ALTER TABLE "users"
  ADD CONSTRAINT "users_username_key_is_lower" CHECK ("username_key" = lower("username_key")),
  ADD CONSTRAINT "users_email_key_is_lower" CHECK ("email_key" = lower("email_key")),
  ADD CONSTRAINT "users_username_length" CHECK (char_length("username") BETWEEN 3 AND 50);
CREATE UNIQUE INDEX "users_one_superadmin" ON "users" ("is_superadmin") WHERE "is_superadmin";

ALTER TABLE "organizations" ADD CONSTRAINT "organizations_name_length" CHECK (char_length("name") BETWEEN 2 AND 100);

ALTER TABLE "environments"
  ADD CONSTRAINT "environments_process_has_a_host" CHECK (("runtime" = 'PROCESS') = ("host_id" IS NOT NULL)),
  ADD CONSTRAINT "environments_uid_offset" CHECK ("uid_offset" IS NULL OR "uid_offset" >= 0);

ALTER TABLE "variables"
  ADD CONSTRAINT "variables_name" CHECK ("name" ~ '^[A-Za-z_][A-Za-z0-9_]*$'),
  ADD CONSTRAINT "variables_secret_has_no_plain_value" CHECK ("is_secret" = ("value" IS NULL));

ALTER TABLE "stack_versions"
  ADD CONSTRAINT "stack_versions_number" CHECK ("number" >= 1),
  ADD CONSTRAINT "stack_versions_compose_size" CHECK (octet_length("compose") <= 1048576);

ALTER TABLE "deployments"
  ADD CONSTRAINT "deployments_number" CHECK ("number" >= 1),
  ADD CONSTRAINT "deployments_revision" CHECK ("revision" >= 1),
  ADD CONSTRAINT "deployments_progress" CHECK ("progress" BETWEEN 0 AND 1),
  ADD CONSTRAINT "deployments_final_is_finished"
    CHECK (("status" IN ('STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED')) = ("finished_at" IS NOT NULL)),
  ADD CONSTRAINT "deployments_live_has_been_live"
    CHECK ("status" NOT IN ('RUNNING', 'DEGRADED', 'SUPERSEDED') OR "live_at" IS NOT NULL);
-- The reconciler looks for these every few seconds, however many deployments there are.
CREATE INDEX "deployments_not_final" ON "deployments" ("environment_id", "stack_environment_id", "number")
  WHERE "status" NOT IN ('STOPPED', 'FAILED', 'CANCELLED', 'SUPERSEDED');

ALTER TABLE "instances" ADD CONSTRAINT "instances_replica" CHECK ("replica" >= 1);
-- One instance a replica at a time, once the former one is gone.
CREATE INDEX "instances_present" ON "instances" ("stack_environment_id", "service", "replica") WHERE "removed_at" IS NULL;

ALTER TABLE "port_reservations"
  ADD CONSTRAINT "port_reservations_port" CHECK ("port" BETWEEN 1 AND 65535),
  ADD CONSTRAINT "port_reservations_protocol" CHECK ("protocol" IN ('tcp', 'udp'));

-- The log. Outside the datamodel: written and read by the batch, partitioned by the UTC day on which a line was stored.

CREATE TABLE "log_lines" (
  "deployment_id" uuid NOT NULL,
  "sequence" bigint NOT NULL,
  "received_at" timestamptz(3) NOT NULL DEFAULT now(),
  "occurred_at" timestamptz(3) NOT NULL,
  "instance_id" uuid,
  "service" text,
  "replica" integer,
  "stream" smallint NOT NULL CHECK ("stream" BETWEEN 0 AND 2),
  "level" smallint NOT NULL CHECK ("level" BETWEEN 0 AND 3),
  "message" text NOT NULL,
  "is_partial" boolean NOT NULL DEFAULT false,
  "dropped" bigint NOT NULL DEFAULT 0,
  PRIMARY KEY ("deployment_id", "sequence", "received_at")
) PARTITION BY RANGE ("received_at");
CREATE TABLE "log_lines_default" PARTITION OF "log_lines" DEFAULT;

-- The only allocator of sequences: updated in the transaction that inserts the lines.
CREATE TABLE "log_heads" (
  "deployment_id" uuid PRIMARY KEY,
  "last_sequence" bigint NOT NULL DEFAULT 0,
  "first_sequence" bigint NOT NULL DEFAULT 1
);

-- How far a stack's log was read from its runtime: moves in the transaction that inserts the lines.
CREATE TABLE "log_offsets" (
  "stack_environment_id" uuid PRIMARY KEY REFERENCES "stack_environments" ("id") ON DELETE CASCADE,
  "position" bigint NOT NULL DEFAULT 0,
  "streams" jsonb NOT NULL DEFAULT '{}',
  "updated_at" timestamptz(3) NOT NULL DEFAULT now()
);

-- What happened in an organization, in commit order: outlives what it speaks of.
CREATE TABLE "event_heads" (
  "organization_id" uuid PRIMARY KEY,
  "last_sequence" bigint NOT NULL DEFAULT 0
);
CREATE TABLE "events" (
  "organization_id" uuid NOT NULL,
  "sequence" bigint NOT NULL,
  "id" uuid NOT NULL UNIQUE,
  "type" text NOT NULL,
  "actor_type" text,
  "actor_id" uuid,
  "subject_type" text,
  "subject_id" uuid,
  "data" jsonb NOT NULL DEFAULT '{}',
  "occurred_at" timestamptz(3) NOT NULL DEFAULT now(),
  PRIMARY KEY ("organization_id", "sequence")
);
