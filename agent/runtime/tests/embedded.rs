//! The embedded runtime against the suite. Needs root and a static busybox.

mod suite;

use suite::ground::ground;

macro_rules! suite {
    ($($group:ident: $($name:ident),+ $(,)?;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(ground) = ground().await {
                    suite::$group::$name(&ground).await;
                }
            }
        )+)+
    };
}

suite! {
    life:
        a_container_runs_and_its_end_is_known,
        what_can_not_start_says_why,
        stopping_asks_first_and_kills_after_the_grace,
        states_that_do_not_fit_are_refused_and_removal_repeats,
        orphans_are_reaped,
        nothing_outlives_its_container,
        many_come_and_go_and_leave_nothing;
    logs:
        lines_come_back_as_they_were_written,
        a_follower_hears_everything_until_the_end,
        a_follower_keeps_its_place_over_rotation;
    resources:
        a_container_that_eats_its_memory_is_oom_killed,
        limits_reach_the_kernel_and_usage_comes_back,
        a_refused_oom_score_does_not_stop_a_container,
        a_pods_limit_holds_all_its_containers;
    security:
        user_and_groups_are_as_asked,
        capabilities_are_the_kernels,
        an_exec_has_its_containers_rights,
        seccomp_filters_what_it_should,
        the_root_can_be_read_only,
        the_hosts_knobs_are_out_of_reach,
        privileged_is_privileged;
    sessions:
        an_exec_has_streams_and_an_exit_code,
        an_exec_can_have_a_terminal,
        a_dropped_exec_is_killed,
        several_attach_and_stdin_once_ends_with_the_first,
        a_terminal_can_be_attached,
        a_deaf_client_does_not_hold_a_container_up;
    surroundings:
        a_pod_has_its_own_network_name_and_kernel_settings,
        a_pods_containers_share_what_they_should,
        a_host_pod_shares_the_hosts,
        volumes_are_mounted,
        mounts_do_not_follow_links_out_of_the_container,
        mounts_propagate_where_asked;
    survival:
        containers_outlive_a_killed_agent,
        an_end_that_no_agent_saw_is_known,
        an_agent_killed_at_any_moment_leaves_nothing_unknown,
        a_killed_shim_ends_its_container,
        an_end_waits_for_a_disk_that_takes_nothing,
        a_shim_whose_complaint_finds_no_room_does_not_panic,
        a_lost_container_is_known_before_it_is_recorded,
        a_killed_nursery_is_replaced,
        nothing_lives_in_the_agents_cgroup,
        records_outlive_the_agent,
        a_sandbox_without_namespaces_is_not_ready,
        damaged_records_are_refused,
        a_shim_is_small;
}
