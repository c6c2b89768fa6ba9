variable "region" {
  description = "AWS region of everything here."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "Prefix of all names, and with the account the bucket's."
  type        = string
  default     = "playlake"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower case letters, digits and hyphens, a letter first."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}

variable "stream" {
  description = "Where events come from: `kinesis` and `msk` make a stream, `none` leaves it to you."
  type        = string
  default     = "kinesis"

  validation {
    condition     = contains(["kinesis", "msk", "none"], var.stream)
    error_message = "One of kinesis, msk, none."
  }
}

variable "topic" {
  description = "Name of the topic or of the Kinesis stream."
  type        = string
  default     = "playback_events"
}

variable "kinesis_shards" {
  description = "Shards: 1,000 records a second each."
  type        = number
  default     = 4
}

variable "stream_retention_hours" {
  description = "How long the stream keeps records: as long as workers may be away without a gap."
  type        = number
  default     = 168

  validation {
    condition     = var.stream_retention_hours >= 24 && var.stream_retention_hours <= 8760
    error_message = "24 to 8760 hours."
  }
}

variable "msk_instance_type" {
  description = "Machine of each MSK broker; there is one broker in each of subnet_ids."
  type        = string
  default     = "kafka.m7g.large"
}

variable "msk_volume_gb" {
  description = "Disk of each MSK broker: bytes a second × stream_retention_hours × 3600, and half as much again."
  type        = number
  default     = 500
}

variable "msk_password_version" {
  description = "Count it up for a new password."
  type        = number
  default     = 1
}

variable "vpc_id" {
  description = "VPC of the MSK cluster; needed with stream = msk."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the MSK cluster, one in each of three zones; needed with stream = msk."
  type        = list(string)
  default     = []

  validation {
    condition     = var.stream != "msk" || (length(var.subnet_ids) == 3 && var.vpc_id != null)
    error_message = "stream = msk needs vpc_id and three subnet_ids."
  }
}

variable "client_security_group_ids" {
  description = "Security groups of workers and producers, which may reach MSK."
  type        = list(string)
  default     = []
}

variable "trusted_services" {
  description = "Services that may take the roles when oidc_provider_arn is null; they must name their account, as ECS does."
  type        = list(string)
  default     = ["ecs-tasks.amazonaws.com"]
}

variable "oidc_provider_arn" {
  description = "OIDC provider of an EKS cluster whose service accounts take the roles; null for trusted_services."
  type        = string
  default     = null
}

variable "kubernetes_namespace" {
  description = "Namespace of deploy/kubernetes; used with oidc_provider_arn."
  type        = string
  default     = "playlake"
}

variable "bronze_days_to_cheaper_storage" {
  description = "Age at which bronze moves to S3's class for rarely read data; readers need not wait there."
  type        = number
  default     = 30

  validation {
    condition     = var.bronze_days_to_cheaper_storage >= 30
    error_message = "S3 takes 30 days or more."
  }
}

variable "noncurrent_days" {
  description = "How long S3 keeps what was deleted or overwritten: the way back from a mistake, and the limit of a deletion."
  type        = number
  default     = 7
}

variable "athena_scan_limit_gb" {
  description = "A query that would scan more is cancelled."
  type        = number
  default     = 100

  validation {
    condition     = var.athena_scan_limit_gb >= 1
    error_message = "1 GB or more."
  }
}

variable "athena_result_days" {
  description = "How long results of queries are kept."
  type        = number
  default     = 7
}
