# The relay on ECS, on a machine of its own with a disk that outlives it, behind a Network Load Balancer: the same as
# ../relay.yaml, whose comments give the reasons. Unproved: no account has run it yet.

data "aws_region" "here" {}

data "aws_partition" "here" {}

data "aws_subnet" "relay" {
  id = var.subnet_id
}

data "aws_ssm_parameter" "machine_image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

locals {
  partition = data.aws_partition.here.partition
  bucket    = "arn:${local.partition}:s3:::${var.bucket_name}"

  configuration = <<-EOT
    hostname = "${var.hostname}"
    [[listeners]]
    bind = "0.0.0.0:2525"
    # The load balancer: its security group is the only one that reaches this port.
    proxy_protocol = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    [tls]
    certificate = "/run/relay/certificate.pem"
    key = "/run/relay/key.pem"
    [s3]
    bucket = "${var.bucket_name}"
    [connect]
    instance_id = "${var.instance_arn}"
    [admin]
    bind = "0.0.0.0:8026"
    [log]
    format = "json"
    metrics = "emf"
    [[routes]]
    match = ${jsonencode(var.addresses)}
    destination = "${var.destination}"
  EOT

  # Metric, statistic, minutes, threshold, missing data, what to do.
  alarms = {
    Dead          = ["Maximum", 1, 0, "ignore", "Dead letters wait for a person: relay queue list --state dead"]
    HeldOtherwise = ["Maximum", 5, 0, "ignore", "Mail is held, and not by your policy: relay queue list --state held"]
    RoutesHeld    = ["Maximum", 5, 0, "ignore", "An error of configuration holds a route: relay check"]
    ServicesAway  = ["Maximum", 5, 0, "ignore", "S3, Connect or the credentials are away"]
    OldestSeconds = ["Maximum", 5, 3600, "ignore", "The oldest mail waits for over an hour: the quota, or Connect"]
    IntakeClosed  = ["Maximum", 5, 0, "ignore", "No mail can come in: the disk, a pause, or places for sessions"]
    Hangs         = ["Sum", 1, 0, "notBreaching", "A process hung and was ended"]
    NotUnderstood = ["Sum", 1, 0, "notBreaching", "Mail defeated the relay, and went out as its original"]
  }
}

# --- The bucket

resource "aws_s3_bucket" "mail" {
  count  = var.make_bucket ? 1 : 0
  bucket = var.bucket_name
}

resource "aws_s3_bucket_public_access_block" "mail" {
  count                   = var.make_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.mail[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "mail" {
  count  = var.make_bucket ? 1 : 0
  bucket = aws_s3_bucket.mail[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "mail" {
  count  = var.make_bucket ? 1 : 0
  bucket = aws_s3_bucket.mail[0].id
  rule {
    id     = "relay-mail"
    status = "Enabled"
    filter {
      prefix = "mail/"
    }
    expiration {
      days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "mail" {
  count  = var.make_bucket ? 1 : 0
  bucket = aws_s3_bucket.mail[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EncryptedOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.bucket, "${local.bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# --- Roles

resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = jsonencode(local.trust["ecs-tasks.amazonaws.com"])
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = jsonencode(local.trust["ecs-tasks.amazonaws.com"])
}

resource "aws_iam_role" "machine" {
  name               = "${var.name}-machine"
  assume_role_policy = jsonencode(local.trust["ec2.amazonaws.com"])
}

locals {
  trust = {
    for service in ["ecs-tasks.amazonaws.com", "ec2.amazonaws.com"] : service => {
      Version   = "2012-10-17"
      Statement = [{ Effect = "Allow", Principal = { Service = service }, Action = "sts:AssumeRole" }]
    }
  }
}

resource "aws_iam_role_policy" "task" {
  name = "relay"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Contacts"
        Effect    = "Allow"
        Action    = "connect:StartEmailContact"
        Resource  = "*"
        Condition = { StringEquals = { "connect:InstanceId" = split("/", var.instance_arn)[1] } }
      },
      {
        Sid      = "Instance"
        Effect   = "Allow"
        Action   = ["connect:SearchEmailAddresses", "connect:DescribeAttachedFilesConfiguration"]
        Resource = "*"
      },
      {
        Sid      = "Files"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:GetObject"]
        Resource = "${local.bucket}/mail/*"
      },
    ]
  })
}

resource "aws_iam_role_policy" "certificate" {
  name = "certificate"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = var.certificate_secret_arn }]
  })
}

resource "aws_iam_role_policy" "disk" {
  name = "disk"
  role = aws_iam_role.machine.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "ec2:AttachVolume"
      Resource = [aws_ebs_volume.spool.arn, "arn:${local.partition}:ec2:*:*:instance/*"]
    }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy_attachment" "machine" {
  for_each = toset([
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "AmazonSSMManagedInstanceCore",
  ])
  role       = aws_iam_role.machine.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_instance_profile" "machine" {
  name = "${var.name}-machine"
  role = aws_iam_role.machine.name
}

# --- The machine and its disk

resource "aws_ebs_volume" "spool" {
  availability_zone = data.aws_subnet.relay.availability_zone
  size              = var.disk_gigabytes
  type              = "gp3"
  encrypted         = true
  final_snapshot    = true
  tags              = { Name = "${var.name}-spool" }
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "SMTP from the internet"
  vpc_id      = var.vpc_id
  ingress {
    description = "SMTP"
    protocol    = "tcp"
    from_port   = 25
    to_port     = 25
    cidr_blocks = ["0.0.0.0/0"]
  }
  egress {
    description = "The machine"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "machine" {
  name        = "${var.name}-machine"
  description = "The load balancer, and nobody else"
  vpc_id      = var.vpc_id
  dynamic "ingress" {
    for_each = { SMTP = 2525, health = 8026 }
    content {
      description     = ingress.key
      protocol        = "tcp"
      from_port       = ingress.value
      to_port         = ingress.value
      security_groups = [aws_security_group.balancer.id]
    }
  }
  egress {
    description = "AWS and the DNS"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_launch_template" "machine" {
  name_prefix   = "${var.name}-"
  image_id      = data.aws_ssm_parameter.machine_image.value
  instance_type = var.instance_type
  iam_instance_profile {
    arn = aws_iam_instance_profile.machine.arn
  }
  metadata_options {
    http_tokens = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = true
    security_groups             = [aws_security_group.machine.id]
  }
  user_data = base64encode(<<-EOT
    #!/bin/bash
    set -euo pipefail
    dnf install -y -q awscli-2
    token=$(curl -sS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token)
    id=$(curl -sS -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id)
    # The machine before this one may still be letting go of the disk.
    until aws ec2 attach-volume --region ${data.aws_region.here.name} --volume-id ${aws_ebs_volume.spool.id} --instance-id "$id" --device /dev/xvdf; do
        sleep 5
    done
    disk=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(echo ${aws_ebs_volume.spool.id} | tr -d -)
    until [ -e "$disk" ]; do sleep 1; done
    blkid "$disk" || mkfs.ext4 -q "$disk"
    mkdir -p /spool
    mount -o noatime "$disk" /spool
    # The user of the image.
    install -d -o 10001 -g 10001 -m 0700 /spool/relay
    echo ECS_CLUSTER=${aws_ecs_cluster.relay.name} >> /etc/ecs/ecs.config
  EOT
  )
}

resource "aws_autoscaling_group" "machine" {
  name_prefix         = "${var.name}-"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 1
  vpc_zone_identifier = [var.subnet_id]
  launch_template {
    id      = aws_launch_template.machine.id
    version = aws_launch_template.machine.latest_version
  }
}

# --- The load balancer

resource "aws_lb" "relay" {
  name               = var.name
  load_balancer_type = "network"
  subnets            = [var.subnet_id]
  security_groups    = [aws_security_group.balancer.id]
}

resource "aws_lb_target_group" "relay" {
  name                 = var.name
  vpc_id               = var.vpc_id
  port                 = 2525
  protocol             = "TCP"
  target_type          = "instance"
  proxy_protocol_v2    = true
  preserve_client_ip   = "false"
  deregistration_delay = 60
  health_check {
    protocol = "HTTP"
    port     = "8026"
    path     = "/readyz"
    interval = 10
  }
}

resource "aws_lb_listener" "relay" {
  load_balancer_arn = aws_lb.relay.arn
  port              = 25
  protocol          = "TCP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.relay.arn
  }
}

# --- The service

resource "aws_cloudwatch_log_group" "relay" {
  name              = "/${var.name}"
  retention_in_days = 90
}

resource "aws_ecs_cluster" "relay" {
  name = var.name
}

resource "aws_ecs_task_definition" "relay" {
  family                   = var.name
  requires_compatibilities = ["EC2"]
  network_mode             = "host"
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  volume {
    name      = "spool"
    host_path = "/spool/relay"
  }
  container_definitions = jsonencode([{
    name       = "relay"
    image      = var.image
    essential  = true
    memory     = 1500
    entryPoint = ["sh", "-euc"]
    command = [join("\n", [
      "umask 077",
      "printf '%s' \"$CONFIGURATION\" > /run/relay/relay.toml",
      "printf '%s' \"$CERTIFICATE\" > /run/relay/certificate.pem",
      "printf '%s' \"$KEY\" > /run/relay/key.pem",
      "unset CONFIGURATION CERTIFICATE KEY",
      "exec relay serve --config /run/relay/relay.toml",
    ])]
    environment = [
      { name = "AWS_REGION", value = data.aws_region.here.name },
      { name = "CONFIGURATION", value = local.configuration },
    ]
    secrets = [
      { name = "CERTIFICATE", valueFrom = "${var.certificate_secret_arn}:certificate::" },
      { name = "KEY", valueFrom = "${var.certificate_secret_arn}:key::" },
    ]
    portMappings = [{ containerPort = 2525, hostPort = 2525, protocol = "tcp" }]
    mountPoints  = [{ sourceVolume = "spool", containerPath = "/var/lib/relay", readOnly = false }]
    linuxParameters = {
      tmpfs = [{ containerPath = "/run/relay", size = 1, mountOptions = ["uid=10001", "mode=0700"] }]
    }
    readonlyRootFilesystem = true
    ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    stopTimeout            = 100
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.relay.name
        awslogs-region        = data.aws_region.here.name
        awslogs-stream-prefix = "relay"
      }
    }
  }])
}

resource "aws_ecs_service" "relay" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.relay.id
  task_definition                    = aws_ecs_task_definition.relay.arn
  launch_type                        = "EC2"
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  health_check_grace_period_seconds  = 60
  load_balancer {
    target_group_arn = aws_lb_target_group.relay.arn
    container_name   = "relay"
    container_port   = 2525
  }
  depends_on = [aws_lb_listener.relay, aws_autoscaling_group.machine]
}

# --- The alarms

resource "aws_cloudwatch_metric_alarm" "relay" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value[4]
  namespace           = "ConnectMailRelay"
  metric_name         = each.key
  dimensions          = { service = "relay" }
  statistic           = each.value[0]
  period              = 60
  evaluation_periods  = each.value[1]
  threshold           = each.value[2]
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = each.value[3]
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "silence" {
  alarm_name          = "${var.name}-silence"
  alarm_description   = "No line of metrics for five minutes: the relay does not run"
  namespace           = "ConnectMailRelay"
  metric_name         = "IntakeClosed"
  dimensions          = { service = "relay" }
  statistic           = "SampleCount"
  period              = 60
  evaluation_periods  = 5
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
