package ptx

import (
	"fmt"
	"strings"
)

// Asynchronous copies: cp.async, bulk copies and tensor copies.

func copyFamilies() []family {
	fs := []family{
		{"cp.async.ca.shared{,::cta}.global{,.L2::64B,.L2::128B,.L2::256B}", "[s] [g] #4,8,16 / [s] [g] #4,8,16 u32", isa(78, 80)},
		{"cp.async.cg.shared{,::cta}.global{,.L2::64B,.L2::128B,.L2::256B}", "[s] [g] #16 / [s] [g] #16 u32", isa(78, 80)},
		{"cp.async.ca.shared{,::cta}.global.L2::cache_hint{,.L2::64B,.L2::128B,.L2::256B}", "[s] [g] #4,8,16 b64! / [s] [g] #4,8,16 u32 b64!", isa(78, 80)},
		{"cp.async.cg.shared{,::cta}.global.L2::cache_hint{,.L2::64B,.L2::128B,.L2::256B}", "[s] [g] #16 b64! / [s] [g] #16 u32 b64!", isa(78, 80)},
		{"cp.async.commit_group", "", any80},
		{"cp.async.wait_group", "#0..65535", any80},
		{"cp.async.wait_all", "", any80},
		{"cp.async.mbarrier.arrive{,.noinc}.shared{,::cta}.b64", "[s]", isa(78, 80)},
		{"cp.async.bulk.commit_group", "", hopper},
		{"cp.async.bulk.wait_group{,.read}", "#0..65535", hopper},
		{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", "[s] [g] u32:16..1048560/16 [s]", hopper},
		{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint", "[s] [g] u32:16..1048560/16 [s] b64!", hopper},
		{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster", "[s] [g] u32:16..1048560/16 [s] b16", hopper},
		{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint", "[s] [g] u32:16..1048560/16 [s] b16 b64!", hopper},
		{"cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", "[s] [s] u32:16..1048560/16 [s]", hopper},
		{"cp.async.bulk.global.shared::cta.bulk_group", "[g] [s] u32:16..1048560/16", hopper},
		{"cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint", "[g] [s] u32:16..1048560/16 b64!", hopper},
		{"cp.async.bulk.prefetch.L2.global", "[g] u32:16..1048560/16", hopper},
		{"cp.async.bulk.prefetch.L2.global.L2::cache_hint", "[g] u32:16..1048560/16 b64!", hopper},
		{"cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.{add.u32,add.s32,add.u64,min.u32,max.u32,min.s32,max.s32,and.b32,or.b32,xor.b32,inc.u32,dec.u32}", "[s] [s] u32:16..1048560/16 [s]", hopper},
		{"cp.reduce.async.bulk.global.shared::cta.bulk_group.{add.f32,add.f64,add.u32,add.s32,add.u64,min.u32,max.u32,min.s32,max.s32,and.b32,or.b32,xor.b32,add.noftz.f16,add.noftz.bf16,min.f16,max.f16,min.bf16,max.bf16}", "[g] [s] u32:16..1048560/16", hopper},
	}
	for dim := 1; dim <= 5; dim++ {
		t := fmt.Sprintf("[t%d]", dim)
		d := func(s string) string { return strings.ReplaceAll(s, "Nd", fmt.Sprintf("%dd", dim)) }
		load := d("cp.async.bulk.tensor.Nd.shared::cluster.global{,.tile}.mbarrier::complete_tx::bytes")
		store := d("cp.async.bulk.tensor.Nd.global.shared::cta{,.tile}.bulk_group")
		fs = append(fs, []family{
			{load, "[s] " + t + " [s]", hopper},
			{load + ".L2::cache_hint", "[s] " + t + " [s] b64!", hopper},
			{load + ".multicast::cluster", "[s] " + t + " [s] b16", hopper},
			{load + ".multicast::cluster.L2::cache_hint", "[s] " + t + " [s] b16 b64!", hopper},
			{store, t + " [s]", hopper},
			{store + ".L2::cache_hint", t + " [s] b64!", hopper},
			{d("cp.reduce.async.bulk.tensor.Nd.global.shared::cta.{add,min,max,inc,dec,and,or,xor}{,.tile}.bulk_group"), t + " [s]", hopper},
			{d("cp.async.bulk.prefetch.tensor.Nd.L2.global{,.tile}"), t, hopper},
		}...)
	}
	return fs
}
