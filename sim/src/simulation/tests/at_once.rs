//! Tasks of which much happens at one instant: however much it is, a thread with a small stack
//! carries it.

use super::*;

/// A run on a thread with 1 MiB of stack, half of what threads of a pool have.
#[expect(clippy::disallowed_methods, reason = "only a thread of its own has a stack to choose")]
fn run_on_a_small_stack(scenario: &Scenario) -> Outcome {
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let thread = small.spawn_scoped(scope, || run(scenario)).expect("a thread");
        thread.join().expect("its stack is large enough")
    })
}

fn part(task: u32, turns: u32) -> Step {
    let repeat = Repeat::Loop(exactly(turns));
    Step { repeat, ..step(&[], Some(Work::SubTask(TaskId(task)))) }
}

#[test]
fn loops_in_loops_whose_turns_take_no_time() {
    let left_out = Step { when: Some(always(false)), ..step(&[], None) };
    let tasks = vec![
        of_steps(vec![part(1, 1_000)]),
        of_steps(vec![part(2, 100)]),
        of_steps(vec![left_out]),
    ];
    let task = &run_on_a_small_stack(&scenario(tasks)).tasks[0];
    assert_eq!((task.succeeded, task.latency.max()), (1, Some(Span::ZERO)));
}

#[test]
fn parts_of_parts_a_thousand_deep() {
    let mut tasks: Vec<TaskSpec> = (1..1_000).map(|n| of_steps(vec![part(n, 1)])).collect();
    tasks.push(of_steps(vec![Step { when: Some(always(false)), ..step(&[], None) }]));
    assert_eq!(run_on_a_small_stack(&scenario(tasks.clone())).tasks[0].succeeded, 1);
    // And one that is given up while the innermost is at work.
    tasks[0].budget.max_latency = Some(MS(50));
    tasks[999] = one_call();
    assert_eq!(run_on_a_small_stack(&scenario(tasks)).tasks[0].endings.over_budget, 1);
}

#[test]
fn a_chain_of_a_thousand_steps_that_are_left_out() {
    let after = |number: u32| number.checked_sub(1).into_iter().collect::<Vec<u32>>();
    let left_out = |number| Step { when: Some(always(false)), ..step(&after(number), None) };
    let chain = of_steps((0..1_000).map(left_out).collect());
    assert_eq!(run_on_a_small_stack(&scenario(vec![chain])).tasks[0].succeeded, 1);
}

#[test]
fn a_thousand_refusals_that_nobody_minds() {
    let optional = |mut step: Step| {
        step.required = false;
        step
    };
    let background = |mut step: Step| {
        if let Work::ModelCall(call) = &mut step.work {
            call.background = true;
        }
        step
    };
    for step in [optional(step(&[], None)), background(step(&[], None))] {
        let mut scenario =
            scenario(vec![of_steps(vec![part(1, 1_000)]), of_steps(vec![step.clone()])]);
        scenario.models[0].guards.admission.max_in_flight = Some(0);
        let outcome = run_on_a_small_stack(&scenario);
        assert_eq!(outcome.tasks[0].succeeded, 1);
        assert_eq!(outcome.models[0].failures[Failure::Overloaded as usize], 1_000);
    }
}
