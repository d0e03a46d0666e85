// The definitions of ServiceMonitor, PodMonitor and PrometheusRule, as files of the module that they are released with. Nothing of it is built.
module claviger.dev/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
