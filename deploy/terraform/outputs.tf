output "lake" {
  description = "`--lake`, `PLAYLAKE_LAKE`."
  value       = local.lake
}

output "broker" {
  description = "`--broker`, `PLAYLAKE_BROKER`; null with stream = none."
  value = one(concat(
    [for stream in aws_kinesis_stream.events : "kinesis://${var.region}/${stream.name}"],
    [for cluster in aws_msk_cluster.events : "kafka://${cluster.bootstrap_brokers_sasl_scram}"],
  ))
}

output "kafka_secret" {
  description = "Where user and password for MSK are; null without it."
  value       = one(aws_secretsmanager_secret.msk[*].arn)
}

output "roles" {
  description = "ARN of each role: worker, compactor, producer, analyst."
  value       = { for name, role in aws_iam_role.playlake : name => role.arn }
}

output "athena_workgroup" {
  description = "Where to ask: a query that scans too much is cancelled there."
  value       = aws_athena_workgroup.lake.name
}

output "glue_database" {
  description = "`playlake athena --register --database`."
  value       = aws_glue_catalog_database.lake.name
}
