//! Tests of the whole path from outcomes to decisions, on queues whose truth is known.

mod accounts;
mod calibration;
mod causes;
mod coverage;
mod economy;
mod gates;
mod mg1;
mod planner;
mod plans;
mod revenue;
mod stability;
mod support;
mod what_if;
mod world;
