#!/bin/sh
# Installs the system packages that the local test cluster needs, and says which. Debian or Ubuntu, as root.
#   containerd runc            run the pods' containers
#   containernetworking-plugins the bridge, addresses and host ports of pods
#   iptables conntrack iproute2 service addresses
#   debootstrap buildah         images without Docker and without a registry
#   gcc libc6-dev               the pause program
#   util-linux kmod             nsenter, mount, modprobe
#   prometheus                  promtool, which tries the alerts
set -eu
PACKAGES="containerd runc containernetworking-plugins iptables conntrack iproute2 debootstrap buildah gcc libc6-dev util-linux kmod prometheus"

missing=""
for package in $PACKAGES; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "System packages of the test cluster: all there ($PACKAGES)"
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "Installing$missing needs root: sudo $0"; exit 1; }
echo "Installing system packages of the test cluster:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Without what is merely recommended, and without services that would start a containerd of their own at once.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
# shellcheck disable=SC2086
apt-get install -qq --yes --no-install-recommends $missing > /dev/null
echo "Installed:$missing"
