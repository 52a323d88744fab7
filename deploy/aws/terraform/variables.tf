variable "name" {
  description = "The prefix of the names of all resources; another for a second MX host"
  type        = string
  default     = "relay"
}

variable "hostname" {
  description = "The name in the banner and the certificate, as in mx1.example.com"
  type        = string
}

variable "image" {
  description = "The image made of the Dockerfile, in a registry that ECS can reach, pinned by its digest"
  type        = string
}

variable "instance_arn" {
  description = "The ARN of the Amazon Connect instance"
  type        = string
  validation {
    condition     = can(regex("^arn:aws[a-z-]*:connect:[a-z0-9-]+:[0-9]{12}:instance/[0-9a-f-]{36}$", var.instance_arn))
    error_message = "instance_arn is no ARN of an Amazon Connect instance."
  }
}

variable "addresses" {
  description = "The addresses that take mail: whole ones, or @domain"
  type        = list(string)
}

variable "destination" {
  description = "The address in Connect that gets their mail"
  type        = string
}

variable "bucket_name" {
  description = "The name of the bucket of the attachments"
  type        = string
}

variable "make_bucket" {
  description = "false where the bucket is there already"
  type        = bool
  default     = true
}

variable "certificate_secret_arn" {
  description = "A secret in Secrets Manager with the keys certificate (the whole chain) and key, both PEM"
  type        = string
}

variable "vpc_id" {
  description = "The VPC"
  type        = string
}

variable "subnet_id" {
  description = "A public subnet: the load balancer, the machine and its disk are in it"
  type        = string
}

variable "disk_gigabytes" {
  description = "The size of the spool's disk"
  type        = number
  default     = 50
}

variable "instance_type" {
  description = "The type of the machine"
  type        = string
  default     = "t3.small"
}

variable "alarm_topic_arn" {
  description = "The SNS topic that the alarms go to"
  type        = string
}
