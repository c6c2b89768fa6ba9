# Who may do what. Four roles, none with a wildcard for its actions:
#   worker      reads the stream, reads and writes the lake
#   compactor   reads and writes the lake, keeps the tables in Glue as they are in the lake
#   producer    writes to the stream
#   analyst     asks Athena in the workgroup; reads the lake, writes nothing but results

locals {
  roles   = toset(["worker", "compactor", "producer", "analyst"])
  glue    = "arn:${data.aws_partition.current.partition}:glue:${var.region}:${local.account}"
  issuer  = var.oidc_provider_arn == null ? "" : element(split(":oidc-provider/", var.oidc_provider_arn), 1)
  streams = local.kinesis == 1 ? aws_kinesis_stream.events[*].arn : []
  secrets = local.msk == 1 ? aws_secretsmanager_secret.msk[*].arn : []
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles

  dynamic "statement" {
    for_each = var.oidc_provider_arn == null ? [1] : []

    content {
      actions = ["sts:AssumeRole"]

      principals {
        type        = "Service"
        identifiers = var.trusted_services
      }

      # A service acts for this account alone.
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  dynamic "statement" {
    for_each = var.oidc_provider_arn == null ? [] : [1]

    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [var.oidc_provider_arn]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:sub"
        values   = ["system:serviceaccount:${var.kubernetes_namespace}:playlake-${each.key}"]
      }

      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "playlake" {
  for_each           = local.roles
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

# --- the lake

data "aws_iam_policy_document" "lake_list" {
  statement {
    sid       = "ListLake"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [local.prefix, "${local.prefix}/*"]
    }
  }
}

data "aws_iam_policy_document" "lake_read" {
  source_policy_documents = [data.aws_iam_policy_document.lake_list.json]

  statement {
    sid       = "ReadLake"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.lake.arn}/${local.prefix}/*"]
  }

  statement {
    sid       = "ReadKey"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }
}

data "aws_iam_policy_document" "lake_write" {
  source_policy_documents = [data.aws_iam_policy_document.lake_read.json]

  statement {
    sid       = "WriteLake"
    actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.lake.arn}/${local.prefix}/*"]
  }

  statement {
    sid       = "WriteKey"
    actions   = ["kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
}

# --- the stream

data "aws_iam_policy_document" "stream_read" {
  dynamic "statement" {
    for_each = local.streams

    content {
      sid = "ReadStream"
      actions = [
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
      ]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = local.secrets

    content {
      sid       = "ReadPassword"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "stream_write" {
  dynamic "statement" {
    for_each = local.streams

    content {
      sid       = "WriteStream"
      actions   = ["kinesis:DescribeStreamSummary", "kinesis:PutRecords"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = local.secrets

    content {
      sid       = "ReadPassword"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "StreamKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
}

# --- queries

data "aws_iam_policy_document" "register" {
  statement {
    sid = "RegisterTables"
    actions = [
      "glue:CreateTable",
      "glue:GetDatabase",
      "glue:GetTable",
      "glue:UpdateTable",
    ]
    resources = [
      "${local.glue}:catalog",
      aws_glue_catalog_database.lake.arn,
      "${local.glue}:table/${aws_glue_catalog_database.lake.name}/*",
    ]
  }
}

data "aws_iam_policy_document" "ask" {
  statement {
    sid = "Ask"
    actions = [
      "athena:GetQueryExecution",
      "athena:GetQueryResults",
      "athena:GetWorkGroup",
      "athena:StartQueryExecution",
      "athena:StopQueryExecution",
    ]
    resources = [aws_athena_workgroup.lake.arn]
  }

  statement {
    sid     = "ReadTables"
    actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"]
    resources = [
      "${local.glue}:catalog",
      aws_glue_catalog_database.lake.arn,
      "${local.glue}:table/${aws_glue_catalog_database.lake.name}/*",
    ]
  }

  statement {
    sid       = "FindResults"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [aws_s3_bucket.results.arn]
  }

  statement {
    sid       = "KeepResults"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.results.arn}/*"]
  }

  statement {
    sid       = "ResultsKey"
    actions   = ["kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
}

# --- roles get what they need

data "aws_iam_policy_document" "role" {
  for_each = {
    worker    = [data.aws_iam_policy_document.lake_write.json, data.aws_iam_policy_document.stream_read.json]
    compactor = [data.aws_iam_policy_document.lake_write.json, data.aws_iam_policy_document.register.json]
    producer  = [data.aws_iam_policy_document.stream_write.json]
    analyst   = [data.aws_iam_policy_document.lake_read.json, data.aws_iam_policy_document.ask.json]
  }

  source_policy_documents = each.value
}

resource "aws_iam_role_policy" "playlake" {
  for_each = local.roles
  name     = "playlake"
  role     = aws_iam_role.playlake[each.key].id
  policy   = data.aws_iam_policy_document.role[each.key].json
}
