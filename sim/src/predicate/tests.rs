//! Conditions against an evaluation by recursion and against laws of three-valued logic.

use super::*;
use crate::dice::{Dice, mix};
use crate::ids::PoolId;

const POOL: Backend = Backend::Pool(PoolId(0));
const TIER: Signal = Signal::Attribute(AttributeId(0));
const SCORE: Signal = Signal::Attribute(AttributeId(1));
const OPEN: Signal = Signal::Backend(POOL, BackendSignal::BreakerOpen);
const IN_FLIGHT: Signal = Signal::Backend(POOL, BackendSignal::InFlight);

fn number(value: f64) -> Op {
    Op::Constant(Value::Number(value))
}

fn word(symbol: u32) -> Op {
    Op::Constant(Value::Word(SymbolId(symbol)))
}

/// Whether the operations hold when every signal is `value`.
#[track_caller]
fn holds(ops: &[Op], value: Option<Value>) -> bool {
    Predicate::new(ops.to_vec()).expect("well formed").holds(|_| value)
}

#[test]
fn an_unknown_signal_makes_neither_a_comparison_nor_its_opposite_hold() {
    let is_gold = [Op::Read(TIER), word(7), Op::Equal];
    let is_not_gold = [&is_gold[..], &[Op::Not]].concat();
    for (value, gold, other) in [
        (Some(Value::Word(SymbolId(7))), true, false),
        (Some(Value::Word(SymbolId(8))), false, true),
        (Some(Value::Number(7.0)), false, true),
        (None, false, false),
    ] {
        assert_eq!(holds(&is_gold, value), gold, "{value:?}");
        assert_eq!(holds(&is_not_gold, value), other, "{value:?}");
    }
    // What decides without it, decides.
    let sure = |last| [&is_gold[..], &[number(1.0), Op::Not], &[last]].concat();
    assert!(!holds(&sure(Op::And), None));
    assert!(holds(&[&sure(Op::And)[..], &[Op::Not]].concat(), None));
    assert!(holds(&[&is_gold[..], &[number(1.0), Op::Or]].concat(), None));
}

#[test]
fn the_order_of_words_is_unknown() {
    let less = [Op::Read(SCORE), number(3.0), Op::Less];
    let not_less = [&less[..], &[Op::Not]].concat();
    for value in [Some(Value::Word(SymbolId(0))), Some(Value::Number(f64::NAN)), None] {
        assert!(!holds(&less, value) && !holds(&not_less, value), "{value:?}");
    }
    assert!(holds(&less, Some(Value::Number(2.0))));
    assert!(holds(&not_less, Some(Value::Number(3.0))));
}

#[test]
fn orders_take_the_value_pushed_first_as_the_lower_one() {
    let compare = |a, b, op| holds(&[number(a), number(b), op], None);
    assert!(compare(1.0, 2.0, Op::Less) && !compare(2.0, 1.0, Op::Less));
    assert!(!compare(2.0, 2.0, Op::Less) && compare(2.0, 2.0, Op::AtMost));
    assert!(!compare(2.0, 1.0, Op::AtMost));
    let equal = |ops: &[Op], b| holds(&[ops, &[number(b), Op::Equal]].concat(), None);
    assert!(equal(&[number(7.0), number(2.0), Op::Subtract], 5.0));
    assert!(equal(&[number(7.0), number(2.0), Op::Divide], 3.5));
    assert!(equal(&[number(7.0), number(0.0), Op::Divide], 0.0));
    assert!(equal(&[number(7.0), number(2.0), Op::Multiply, number(1.0), Op::Add], 15.0));
}

#[test]
fn what_can_never_apply_is_refused() {
    let refused: [&[Op]; 17] = [
        &[],
        &[Op::Not],
        &[number(2.0)],
        &[word(0)],
        &[Op::Read(Signal::Confidence)],
        &[Op::Read(TIER)],
        &[number(1.0), number(1.0)],
        &[number(1.0), Op::Equal],
        &[number(f64::NAN), number(1.0), Op::Equal],
        &[number(2.0), Op::Not],
        &[word(0), number(1.0), Op::Equal],
        &[Op::Read(Signal::Intent), number(1.0), Op::Equal],
        &[Op::Read(Signal::Intent), word(0), Op::Less],
        &[Op::Read(OPEN), Op::Read(IN_FLIGHT), Op::Less],
        &[Op::Read(OPEN), number(1.0), Op::Add, number(1.0), Op::Equal],
        &[Op::Read(TIER), number(1.0), Op::And],
        &[number(2.0), number(3.0), Op::Less, number(2.0), Op::Equal],
    ];
    for ops in refused {
        assert_eq!(Predicate::new(ops.to_vec()), None, "{ops:?}");
    }
    assert!(Predicate::new(vec![Op::Read(OPEN)]).is_some());
    assert!(Predicate::new(vec![Op::Read(OPEN), number(1.0), Op::Equal]).is_some());
    assert!(Predicate::new(vec![Op::Read(TIER), Op::Read(SCORE), Op::Equal]).is_some());
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| {
        let mut ops = vec![number(1.0); depth];
        ops.extend(vec![Op::And; depth - 1]);
        ops
    };
    assert!(holds(&nested(DEEPEST), None));
    assert_eq!(Predicate::new(nested(DEEPEST + 1)), None);
}

/// A random condition as a tree, so that it can be evaluated by recursion.
enum Tree {
    Leaf(Op),
    Not(Box<Tree>),
    Two(Op, Box<Tree>, Box<Tree>),
}

impl Tree {
    fn truth(dice: &mut Dice, depth: u32) -> Tree {
        let pick = dice.bits() % if depth == 0 { 2 } else { 6 };
        let two = |op, a, b| Tree::Two(op, Box::new(a), Box::new(b));
        match pick {
            0 => Tree::Leaf(Op::Read(OPEN)),
            1 => two(Op::Equal, Tree::Leaf(Op::Read(TIER)), Tree::Leaf(word(pick as u32))),
            2 => Tree::Not(Box::new(Tree::truth(dice, depth - 1))),
            3 => {
                let op = [Op::Equal, Op::Less, Op::AtMost][(dice.bits() % 3) as usize];
                two(op, Tree::number(dice, depth - 1), Tree::number(dice, depth - 1))
            }
            pick => {
                let op = if pick == 4 { Op::And } else { Op::Or };
                two(op, Tree::truth(dice, depth - 1), Tree::truth(dice, depth - 1))
            }
        }
    }

    fn number(dice: &mut Dice, depth: u32) -> Tree {
        let pick = dice.bits() % if depth == 0 { 4 } else { 8 };
        let op = match pick {
            0 => return Tree::Leaf(number((dice.bits() % 4) as f64)),
            1 => return Tree::Leaf(Op::Read(SCORE)),
            2 => return Tree::Leaf(Op::Read(IN_FLIGHT)),
            3 => return Tree::Leaf(Op::Read(Signal::Confidence)),
            4 => Op::Add,
            5 => Op::Subtract,
            6 => Op::Multiply,
            _ => Op::Divide,
        };
        let below = depth - 1;
        Tree::Two(op, Box::new(Tree::number(dice, below)), Box::new(Tree::number(dice, below)))
    }

    fn ops(&self, ops: &mut Vec<Op>) {
        match self {
            Tree::Leaf(op) => ops.push(*op),
            Tree::Not(below) => {
                below.ops(ops);
                ops.push(Op::Not);
            }
            Tree::Two(op, lower, upper) => {
                lower.ops(ops);
                upper.ops(ops);
                ops.push(*op);
            }
        }
    }

    /// Two-valued evaluation, with every signal there; words as negative numbers.
    fn value(&self, read: &dyn Fn(Signal) -> Value) -> f64 {
        let plain = |value| match value {
            Value::Number(number) => number,
            Value::Word(symbol) => -1.0 - f64::from(symbol.0),
        };
        let truth = |held: bool| f64::from(u8::from(held));
        match self {
            Tree::Leaf(Op::Constant(value)) => plain(*value),
            Tree::Leaf(Op::Read(signal)) => plain(read(*signal)),
            Tree::Leaf(op) => panic!("{op:?} is no leaf"),
            Tree::Not(below) => 1.0 - below.value(read),
            Tree::Two(op, lower, upper) => {
                let (a, b) = (lower.value(read), upper.value(read));
                match op {
                    Op::And => a * b,
                    Op::Or => a.max(b),
                    Op::Equal => truth(a == b),
                    Op::Less => truth(a < b),
                    Op::AtMost => truth(a <= b),
                    Op::Add => a + b,
                    Op::Subtract => a - b,
                    Op::Multiply => a * b,
                    _ => [a / b, 0.0][usize::from(b == 0.0)],
                }
            }
        }
    }
}

/// Small whole numbers and few words, so that equality is common.
fn drawn(case: u64, signal: Signal) -> Value {
    let kind = match signal {
        TIER => 1,
        SCORE => 2,
        IN_FLIGHT => 3,
        OPEN => 4,
        _ => 5,
    };
    let bits = Dice::stream(mix(case, kind)).bits();
    match signal {
        TIER => Value::Word(SymbolId((bits % 3) as u32)),
        OPEN => Value::Number((bits % 2) as f64),
        _ => Value::Number((bits % 5) as f64),
    }
}

#[test]
fn the_stack_agrees_with_recursion_and_less_knowledge_never_invents_truth() {
    let (mut held, mut held_with_gaps) = (0, 0);
    for case in 0..20_000u64 {
        let mut dice = Dice::stream(mix(case, 0));
        let tree = Tree::truth(&mut dice, 5);
        let mut ops = Vec::new();
        tree.ops(&mut ops);
        let predicate = Predicate::new(ops.clone()).expect("well formed");
        ops.push(Op::Not);
        let opposite = Predicate::new(ops).expect("well formed");

        let all = |signal| drawn(case, signal);
        let expected = tree.value(&all) != 0.0;
        assert_eq!(predicate.holds(|signal| Some(all(signal))), expected, "case {case}");
        assert_eq!(opposite.holds(|signal| Some(all(signal))), !expected, "case {case}");
        held += u32::from(expected);

        // With some signals missing, what holds holds with them too.
        let gaps = dice.bits();
        let some = |signal| {
            let hidden = match signal {
                TIER => 1,
                SCORE => 2,
                IN_FLIGHT => 4,
                OPEN => 8,
                _ => 16,
            };
            (gaps & hidden == 0).then(|| all(signal))
        };
        assert!(!predicate.holds(some) || expected, "case {case}");
        assert!(!opposite.holds(some) || !expected, "case {case}");
        held_with_gaps += u32::from(predicate.holds(some));
    }
    // The cases are no formality: many hold, also with gaps.
    assert!(held > 5_000 && held < 15_000 && held_with_gaps > 1_000, "{held} {held_with_gaps}");
}
