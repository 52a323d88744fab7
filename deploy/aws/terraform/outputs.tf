output "mail_exchanger" {
  description = "The name that the A record of the hostname leads to (an alias), or the MX record of a domain"
  value       = aws_lb.relay.dns_name
}

output "log_group" {
  description = "The log, and the metrics of the namespace ConnectMailRelay"
  value       = aws_cloudwatch_log_group.relay.name
}
