locals {
  kinesis = var.stream == "kinesis" ? 1 : 0
  msk     = var.stream == "msk" ? 1 : 0
}

resource "aws_kinesis_stream" "events" {
  count            = local.kinesis
  name             = var.topic
  shard_count      = var.kinesis_shards
  retention_period = var.stream_retention_hours
  encryption_type  = "KMS"
  kms_key_id       = aws_kms_key.lake.arn

  stream_mode_details {
    stream_mode = "PROVISIONED"
  }
}

# --- Kafka: provisioned, with SCRAM. MSK Serverless takes IAM's tokens alone, which librdkafka can't make by settings.

resource "aws_security_group" "msk" {
  count       = local.msk
  name        = "${var.name}-msk"
  description = "Kafka from workers and producers"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "msk" {
  count                        = local.msk * length(var.client_security_group_ids)
  description                  = "Kafka with SCRAM over TLS"
  security_group_id            = aws_security_group.msk[0].id
  referenced_security_group_id = var.client_security_group_ids[count.index]
  from_port                    = 9096
  to_port                      = 9096
  ip_protocol                  = "tcp"
}

resource "aws_msk_configuration" "events" {
  count = local.msk
  name  = var.name

  server_properties = <<-EOT
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
    log.retention.hours=${var.stream_retention_hours}
  EOT
}

resource "aws_msk_cluster" "events" {
  count                  = local.msk
  cluster_name           = var.name
  kafka_version          = "3.9.x"
  number_of_broker_nodes = length(var.subnet_ids)

  broker_node_group_info {
    instance_type   = var.msk_instance_type
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.msk[0].id]

    storage_info {
      ebs_storage_info {
        volume_size = var.msk_volume_gb
      }
    }
  }

  client_authentication {
    unauthenticated = false

    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.lake.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.events[0].arn
    revision = aws_msk_configuration.events[0].latest_revision
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.msk[0].name
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "msk" {
  count             = local.msk
  name              = "/${var.name}/msk"
  retention_in_days = 30
}

# The password is made here and kept by Secrets Manager alone: an ephemeral value is never in the state.
ephemeral "random_password" "msk" {
  count   = local.msk
  length  = 40
  special = false
}

resource "aws_secretsmanager_secret" "msk" {
  count       = local.msk
  name        = "AmazonMSK_${var.name}" # MSK wants this prefix
  description = "User and password of workers and producers"
  kms_key_id  = aws_kms_key.lake.arn
}

resource "aws_secretsmanager_secret_version" "msk" {
  count                    = local.msk
  secret_id                = aws_secretsmanager_secret.msk[0].id
  secret_string_wo         = jsonencode({ username = var.name, password = ephemeral.random_password.msk[0].result })
  secret_string_wo_version = var.msk_password_version
}

resource "aws_msk_scram_secret_association" "msk" {
  count           = local.msk
  cluster_arn     = aws_msk_cluster.events[0].arn
  secret_arn_list = [aws_secretsmanager_secret.msk[0].arn]
  depends_on      = [aws_secretsmanager_secret_version.msk]
}
