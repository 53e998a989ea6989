#!/bin/sh
# Has promtool (of the package `prometheus`) read the configuration and the rules, and try the rules on made-up series.
set -eu
cd "$(dirname "$0")"
promtool check config prometheus.yml
promtool check rules rules.yml
promtool test rules rules_test.yml
