#!/bin/sh
# sh tests/mpi/namespaces.sh PROGRAM [ARGUMENT...]: runs a program of Open MPI over TCP between two
# network namespaces of this machine, as root: half of the ranks in each. NP ranks (2), RATE as tc
# says it ("200mbit"; none: as fast as the machine), LIMIT seconds (300).
# For example: sh tests/mpi/namespaces.sh build/tests/tests/mpi/test_mpi --gtest_brief=1
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ranks=${NP:-2}
slots=$(((ranks + 1) / 2))
if [ "${1:-}" = agent ]; then
  # The remote shell of Open MPI: HOST COMMAND... in that host's namespace, under a name of its own.
  host=$2
  shift 2
  case $host in 10.77.0.2) space=b ;; *) space=a ;; esac
  exec ip netns exec "softlook_$space" unshare -u sh -c "hostname node-$space; exec sh -c \"\$0\"" "$*"
fi
if [ $# -eq 0 ]; then
  sed -n '2,5s/^# //p' "$0"
  exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "$0: network namespaces are made by root"
  exit 77
fi
for tool in ip unshare mpirun.openmpi; do
  command -v "$tool" > /dev/null || { echo "$0: $tool is missing"; exit 77; }
done

clear_up() {
  ip netns del softlook_a 2> /dev/null || true
  ip netns del softlook_b 2> /dev/null || true
  rm -f "$agent"
}
agent=$(mktemp)
trap clear_up EXIT INT TERM
printf '#!/bin/sh\nexec sh %s/namespaces.sh agent "$@"\n' "$here" > "$agent"
chmod +x "$agent"
ip netns del softlook_a 2> /dev/null || true
ip netns del softlook_b 2> /dev/null || true
ip netns add softlook_a
ip netns add softlook_b
ip link add softlook_va type veth peer name softlook_vb
ip link set softlook_va netns softlook_a
ip link set softlook_vb netns softlook_b
ip -n softlook_a addr add 10.77.0.1/24 dev softlook_va
ip -n softlook_b addr add 10.77.0.2/24 dev softlook_vb
for space in a b; do
  ip -n softlook_$space link set softlook_v$space up
  ip -n softlook_$space link set lo up
  [ -z "${RATE:-}" ] || ip netns exec softlook_$space tc qdisc add dev softlook_v$space root tbf \
    rate "$RATE" burst 256kb latency 100ms
done

# Names must differ: equal ones are one host to Open MPI. Not bound: both hosts are these cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
ip netns exec softlook_a unshare -u sh -c 'hostname node-a; exec "$@"' sh \
  timeout "${LIMIT:-300}" mpirun.openmpi --host "10.77.0.1:$slots,10.77.0.2:$slots" -np "$ranks" \
  --map-by node --bind-to none --oversubscribe --mca plm_rsh_agent "$agent" --mca pml ob1 \
  --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"
