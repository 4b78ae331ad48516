package ptx

// Barriers, fences, votes, shuffles and control that is no branch.

// A named barrier's number and its count of threads.
const (
	barID      = "u32:0..15"
	barThreads = "u32:32..1024/32"
)

func syncFamilies() []family {
	return []family{
		{"bar.sync", barID + " / " + barID + " " + barThreads, any80},
		{"bar.arrive", barID + " " + barThreads, any80},
		{"barrier{,.cta}.sync{,.aligned}", barID + " / " + barID + " " + barThreads, isa(78, 80)},
		{"barrier{,.cta}.arrive{,.aligned}", barID + " " + barThreads, isa(78, 80)},
		{"bar.red.popc.u32", "=u32 " + barID + " pred? / =u32 " + barID + " " + barThreads + " pred?", any80},
		{"bar.red.{and,or}.pred", "=pred " + barID + " pred? / =pred " + barID + " " + barThreads + " pred?", any80},
		{"barrier{,.cta}.red.popc{,.aligned}.u32", "=u32 " + barID + " pred? / =u32 " + barID + " " + barThreads + " pred?", isa(78, 80)},
		{"barrier{,.cta}.red.{and,or}{,.aligned}.pred", "=pred " + barID + " pred? / =pred " + barID + " " + barThreads + " pred?", isa(78, 80)},
		{"bar.warp.sync", "b32", any80},
		{"barrier.cluster.arrive{,.release,.relaxed}{,.aligned}", "", hopper},
		{"barrier.cluster.wait{,.acquire}{,.aligned}", "", hopper},
		{"membar.{cta,gl,sys}", "", any80},
		{"fence{,.sc,.acq_rel}.{cta,gpu,sys}", "", any80},
		{"fence{,.sc,.acq_rel}.cluster", "", hopper},
		{"fence.mbarrier_init.release.cluster", "", hopper},
		{"fence.proxy.alias", "", isa(75, 80)},
		{"fence.proxy.async{,.global,.shared::cta,.shared::cluster}", "", hopper},
		{"fence.proxy.tensormap::generic.release.{cta,cluster,gpu,sys}", "", need{83, SM90()}},
		{"fence.proxy.tensormap::generic.acquire.{cta,cluster,gpu,sys}", "[g] #128", need{83, SM90()}},

		{"vote.sync.{all,any,uni}.pred", "=pred pred? b32", any80},
		{"vote.sync.ballot.b32", "=b32 pred? b32", any80},
		{"match.any.sync.{b32,b64}", "=b32 $1 b32", any80},
		{"match.all.sync.{b32,b64}", "=b32|p $1 b32", any80},
		{"shfl.sync.{up,down,bfly,idx}.b32", "=b32|p b32 b32 b32 b32", any80},
		{"redux.sync.{add,min,max}.{u32,s32}", "=$2 $2! b32", any80},
		{"redux.sync.{and,or,xor}.b32", "=b32 b32! b32", any80},
		{"activemask.b32", "=b32", any80},
		{"elect.sync", "=b32_|p! b32", hopper},

		{"mbarrier.init.shared{,::cta}.b64", "[s] u32:1..1048575", isa(78, 80)},
		{"mbarrier.inval.shared{,::cta}.b64", "[s]", isa(78, 80)},
		{"mbarrier.arrive.shared{,::cta}.b64", "=b64_ [s]", isa(78, 80)},
		{"mbarrier.arrive.shared{,::cta}.b64", "=b64_ [s] u32", need{78, SM90()}},
		{"mbarrier.arrive.noComplete.shared{,::cta}.b64", "=b64 [s] u32", isa(78, 80)},
		{"mbarrier.arrive{.release.cta,.release.cluster}.shared::cta.b64", "=b64_ [s] / =b64_ [s] u32", hopper},
		{"mbarrier.arrive{.relaxed.cta,.relaxed.cluster}.shared::cta.b64", "=b64_ [s] / =b64_ [s] u32", isa(86, 90)},
		{"mbarrier.arrive{,.release.cluster}.shared::cluster.b64", "_ [s] / _ [s] u32", hopper},
		{"mbarrier.arrive.expect_tx{,.release.cta,.release.cluster}.shared::cta.b64", "=b64_ [s] u32", hopper},
		{"mbarrier.arrive.expect_tx{,.release.cluster}.shared::cluster.b64", "_ [s] u32", hopper},
		{"mbarrier.expect_tx.relaxed.{cta,cluster}.shared::{cta,cluster}.b64", "[s] u32", hopper},
		{"mbarrier.complete_tx.relaxed.{cta,cluster}.shared::{cta,cluster}.b64", "[s] u32", hopper},
		{"mbarrier.test_wait.shared{,::cta}.b64", "=pred [s] b64!", isa(78, 80)},
		{"mbarrier.test_wait.parity.shared{,::cta}.b64", "=pred [s] u32", isa(78, 80)},
		{"mbarrier.try_wait{,.acquire.cta,.acquire.cluster}.shared{,::cta}.b64", "=pred [s] b64! / =pred [s] b64! u32", hopper},
		{"mbarrier.try_wait.parity{,.acquire.cta,.acquire.cluster}.shared{,::cta}.b64", "=pred [s] u32 / =pred [s] u32 u32", hopper},
		{"mbarrier.pending_count.b64", "=u32 b64!", any80},

		{"setmaxnreg.{inc,dec}.sync.aligned.u32", "#24..256", hopperA},
		{"griddepcontrol.{wait,launch_dependents}", "", hopper},
		{"nanosleep.u32", "u32", any80},
		{"trap", "", any80},
		{"brkpt", "", any80},
		{"exit", "", any80},
		{"pmevent", "#0..15", any80},
	}
}
