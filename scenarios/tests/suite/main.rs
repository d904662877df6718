//! What users and attackers write, and what comes out.

mod files;
mod gates;
mod calibrations;
mod default_levers;
mod engines;
mod hostile;
mod idle;
mod inert;
mod lengths;
mod levers;
mod mixes;
mod policies;
mod problems;
mod pseudo_config;
mod resolving;
mod schema;
mod shipped;
mod support;
mod traffic_factor;
mod worlds;
