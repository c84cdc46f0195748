CREATE TYPE "ExecutionKind" AS ENUM ('AGENT', 'WORKFLOW', 'SQUAD');

CREATE TYPE "ExecutionStatus" AS ENUM ('QUEUED', 'RUNNING', 'WAITING', 'CANCELLING', 'COMPLETED', 'FAILED', 'CANCELLED');

CREATE TYPE "ExecutionStepState" AS ENUM ('PENDING', 'RUNNING', 'WAITING', 'RETRYING', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED');

CREATE TABLE "agent_templates" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "slug" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "type" TEXT NOT NULL,
    "definition" JSONB NOT NULL,
    "created_by_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "agent_templates_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "agents" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "template_id" UUID,
    "model" TEXT NOT NULL,
    "system_prompt" TEXT,
    "configuration" JSONB NOT NULL,
    "credential" TEXT,
    "created_by_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "agents_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "executions" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "kind" "ExecutionKind" NOT NULL,
    "status" "ExecutionStatus" NOT NULL DEFAULT 'QUEUED',
    "status_reason" TEXT,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "agent_id" UUID,
    "definition" JSONB NOT NULL,
    "input" JSONB,
    "output" JSONB,
    "continues_id" UUID,
    "retry_of_id" UUID,
    "parent_id" UUID,
    "input_tokens" INTEGER NOT NULL DEFAULT 0,
    "output_tokens" INTEGER NOT NULL DEFAULT 0,
    "output_sequence" BIGINT NOT NULL DEFAULT 0,
    "created_by_id" UUID,
    "host_id" UUID,
    "host_epoch" INTEGER,
    "wake_at" TIMESTAMPTZ(3),
    "waiting_since" TIMESTAMPTZ(3),
    "deadline_at" TIMESTAMPTZ(3) NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "executions_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "execution_steps" (
    "id" UUID NOT NULL,
    "execution_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "state" "ExecutionStepState" NOT NULL DEFAULT 'PENDING',
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "depends_on" TEXT[],
    "input" JSONB,
    "output" JSONB,
    "error" TEXT,
    "approval" JSONB,
    "wake_at" TIMESTAMPTZ(3),
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "execution_steps_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "agent_templates_organization_id_slug_version_key" ON "agent_templates"("organization_id", "slug", "version");

CREATE INDEX "agents_template_id_idx" ON "agents"("template_id");

CREATE UNIQUE INDEX "agents_organization_id_name_key" ON "agents"("organization_id", "name");

CREATE INDEX "executions_organization_id_created_at_id_idx" ON "executions"("organization_id", "created_at", "id");

CREATE INDEX "executions_agent_id_created_at_id_idx" ON "executions"("agent_id", "created_at", "id");

CREATE INDEX "executions_continues_id_idx" ON "executions"("continues_id");

CREATE INDEX "executions_retry_of_id_idx" ON "executions"("retry_of_id");

CREATE INDEX "executions_parent_id_idx" ON "executions"("parent_id");

CREATE UNIQUE INDEX "execution_steps_execution_id_key_key" ON "execution_steps"("execution_id", "key");

CREATE UNIQUE INDEX "execution_steps_execution_id_position_key" ON "execution_steps"("execution_id", "position");

ALTER TABLE "agent_templates" ADD CONSTRAINT "agent_templates_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "agent_templates" ADD CONSTRAINT "agent_templates_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "agents" ADD CONSTRAINT "agents_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "agents" ADD CONSTRAINT "agents_template_id_fkey" FOREIGN KEY ("template_id") REFERENCES "agent_templates"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "agents" ADD CONSTRAINT "agents_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_agent_id_fkey" FOREIGN KEY ("agent_id") REFERENCES "agents"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_continues_id_fkey" FOREIGN KEY ("continues_id") REFERENCES "executions"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_retry_of_id_fkey" FOREIGN KEY ("retry_of_id") REFERENCES "executions"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_parent_id_fkey" FOREIGN KEY ("parent_id") REFERENCES "executions"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "executions" ADD CONSTRAINT "executions_created_by_id_fkey" FOREIGN KEY ("created_by_id") REFERENCES "users"("id") ON DELETE SET NULL ON UPDATE CASCADE;

ALTER TABLE "execution_steps" ADD CONSTRAINT "execution_steps_execution_id_fkey" FOREIGN KEY ("execution_id") REFERENCES "executions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- What somebody has to work on, and what waits for a time to come.
CREATE INDEX "executions_active" ON "executions"("created_at", "id") WHERE "status" IN ('QUEUED', 'RUNNING', 'CANCELLING');

CREATE INDEX "executions_waiting" ON "executions"("wake_at") WHERE "status" = 'WAITING';

ALTER TABLE "executions" ADD CONSTRAINT "executions_finished_check" CHECK (("finished_at" IS NOT NULL) = ("status" IN ('COMPLETED', 'FAILED', 'CANCELLED')));

ALTER TABLE "executions" ADD CONSTRAINT "executions_holder_check" CHECK (("host_id" IS NULL) = ("host_epoch" IS NULL));

-- What executions write, in the order of sequences. The last sequence is the execution's own: it is taken in the transaction of the insert.
CREATE TABLE "execution_output" (
    "execution_id" UUID NOT NULL,
    "sequence" BIGINT NOT NULL,
    "step" TEXT,
    "attempt" INTEGER NOT NULL,
    "text" TEXT NOT NULL,

    CONSTRAINT "execution_output_pkey" PRIMARY KEY ("execution_id", "sequence"),
    CONSTRAINT "execution_output_execution_id_fkey" FOREIGN KEY ("execution_id") REFERENCES "executions"("id") ON DELETE CASCADE ON UPDATE CASCADE
);
